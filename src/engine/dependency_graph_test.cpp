#include "engine/dependency_graph.h"

#include <gmock/gmock.h>

namespace appmesh::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
constexpr auto kReady = core::DependencyCondition::ready;

TEST(DependencyGraph, names_who_depends_on_an_app_and_forgets_what_is_replaced) {
  DependencyGraph graph;
  graph.set("web", {{"db", kReady}, {"cache", kReady}});
  graph.set("api", {{"db", kReady}});
  EXPECT_THAT(graph.dependants_of("db"), ElementsAre("api", "web"));
  graph.set("web", {{"cache", kReady}});
  EXPECT_THAT(graph.dependants_of("db"), ElementsAre("api"));
  graph.set("api", {});
  graph.set("api", {});
  EXPECT_THAT(graph.dependants_of("db"), IsEmpty());
  EXPECT_FALSE(graph.has_dependants("db"));
}

TEST(DependencyGraph, finds_the_shortest_cycle_with_its_path) {
  DependencyGraph graph;
  graph.set("a", {{"b", kReady}});
  graph.set("b", {{"c", kReady}});
  graph.set("x", {{"a", kReady}});
  EXPECT_EQ(graph.find_cycle("c", {{"d", kReady}}), std::nullopt);
  EXPECT_THAT(*graph.find_cycle("c", {{"a", kReady}}), ElementsAre("c", "a", "b", "c"));
  EXPECT_THAT(*graph.find_cycle("c", {{"x", kReady}, {"b", kReady}}), ElementsAre("c", "b", "c"));
  EXPECT_THAT(*graph.find_cycle("c", {{"c", kReady}}), ElementsAre("c", "c"));
}

TEST(DependencyGraph, a_cycle_elsewhere_is_nobody_elses_concern) {
  DependencyGraph graph;
  graph.set("a", {{"b", kReady}});
  graph.set("b", {{"a", kReady}});
  EXPECT_EQ(graph.find_cycle("c", {{"a", kReady}}), std::nullopt);
}

}  // namespace
}  // namespace appmesh::engine

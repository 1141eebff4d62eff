#include "runtime/run_tag.h"

#include <gtest/gtest.h>

#include "keeper/protocol.h"

namespace appmesh::runtime {
namespace {

TEST(RunTag, ComesBackAsItWasWritten) {
  const RunTag tag{
      .app = "web_1-x", .process_key = "00ff", .cgroup = "p.12", .made_of = "1:00ff", .run_number = 42, .instance = 3};
  EXPECT_EQ(RunTag::decode(tag.encode()), tag);
  const RunTag check{.app = "web", .cgroup = "p.12", .run_number = 42, .kind = RunKind::health};
  EXPECT_EQ(RunTag::decode(check.encode()), check);
}

TEST(RunTag, OfTheLongestNamesFitsTheKeepersTable) {
  const RunTag tag{.app = std::string(128, 'a'),
                   .process_key = std::string(32, 'f'),
                   .cgroup = std::string(64, 'c'),
                   .notify = std::string(16, 'e'),
                   .made_of = "1:0123456789abcdef",
                   .run_number = ~std::uint64_t{0},
                   .instance = ~std::uint32_t{0}};
  EXPECT_LE(tag.encode().size(), keeper::kMaxTagBytes);
}

TEST(RunTag, OfANewerDaemonMayHoldMore) {
  EXPECT_EQ(RunTag::decode("app=a run=1 colour=blue key=k")->process_key, "k");
}

TEST(RunTag, OfSomebodyElseIsNone) {
  for (const auto* text : {"", "app=a", "run=1", "hello", "app=a run=x", "app= run=1", "app=a run=0"})
    EXPECT_FALSE(RunTag::decode(text)) << text;
}

}  // namespace
}  // namespace appmesh::runtime

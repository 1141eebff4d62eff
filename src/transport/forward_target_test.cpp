#include "transport/forward_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::transport {
namespace {

using testing::HasSubstr;

ForwardRules rules(std::initializer_list<const char*> targets = {}) {
  ForwardRules made{.rest_port = 6060,
                    .tcp_port = 6059,
                    .websocket_port = 6058,
                    .own_hosts = {"localhost", "127.0.0.1", "me"},
                    .targets = {},
                    .is_cluster_member = {}};
  for (const char* target : targets) made.targets.push_back(Authority::parse(target).value());
  return made;
}

std::string shown(const Result<ForwardRoute>& route) {
  if (!route) return std::to_string(http_status(route.error().kind));
  const char* const kinds[] = {"here", "https", "tcp"};
  return std::string(kinds[static_cast<int>(route->kind)]) + " " + to_text(route->host, route->port);
}

TEST(ForwardTarget, ReadsHostsAndPorts) {
  const auto v6 = Authority::parse("[0:0::0:0001]:7060").value();
  EXPECT_EQ(v6.host, "::1");
  EXPECT_EQ(v6.port, 7060);
  EXPECT_EQ(Authority::parse("fd00::2")->host, "fd00::2");
  EXPECT_EQ(Authority::parse("Node-1.Example.")->host, "node-1.example");
  EXPECT_FALSE(Authority::parse("node")->port);
}

TEST(ForwardTarget, RefusesWhatIsNoHostAndSaysWhy) {
  for (const char* bad : {"", ":6060", "a b", "a/b", "a@b", "a:0", "a:65536", "a:x", "a:", "[::1", "[::1]x", "[a]:1",
                          "::g", "a%b", "..", ".a", "-a", "a..b", "a\r\nX: y"}) {
    const auto parsed = Authority::parse(bad);
    ASSERT_FALSE(parsed) << bad;
    EXPECT_EQ(parsed.error().kind, ErrorKind::invalid_argument);
    EXPECT_FALSE(parsed.error().message.empty());
  }
  EXPECT_FALSE(Authority::parse(std::string(254, 'a')));
}

TEST(ForwardTarget, OverHttpOurRestPortIsHttpsAndAnyOtherIsTcp) {
  const auto listed = rules({"b"});
  EXPECT_EQ(shown(find_forward_route(listed, "b", true)), "https b:6060");
  EXPECT_EQ(shown(find_forward_route(listed, "B:6060", true)), "https b:6060");
  EXPECT_EQ(shown(find_forward_route(listed, "b:6058", true)), "https b:6058");
  EXPECT_EQ(shown(find_forward_route(listed, "b:6059", true)), "tcp b:6059");
  EXPECT_EQ(shown(find_forward_route(listed, "b:443", true)), "tcp b:443");
}

TEST(ForwardTarget, OverTcpAMissingOrSystemPortIsOurTcpPort) {
  const auto listed = rules({"b"});
  EXPECT_EQ(shown(find_forward_route(listed, "b", false)), "tcp b:6059");
  EXPECT_EQ(shown(find_forward_route(listed, "b:1024", false)), "tcp b:6059");
  EXPECT_EQ(shown(find_forward_route(listed, "b:1025", false)), "tcp b:1025");
  EXPECT_EQ(shown(find_forward_route(listed, "b:6060", false)), "https b:6060");
}

TEST(ForwardTarget, OurOwnPortsOfOurOwnHostsAreHere) {
  EXPECT_EQ(shown(find_forward_route(rules(), "localhost", true)), "here localhost:6060");
  EXPECT_EQ(shown(find_forward_route(rules(), "ME:6059", true)), "here me:6059");
  EXPECT_EQ(shown(find_forward_route(rules(), "127.0.0.1:6058", false)), "here 127.0.0.1:6058");
  EXPECT_EQ(shown(find_forward_route(rules(), "localhost:22", true)), "403") << "nobody scans our ports through us";
}

TEST(ForwardTarget, OnlyListedTargetsAndClusterMembersAreAllowed) {
  EXPECT_EQ(shown(find_forward_route(rules(), "b", true)), "403");
  const auto port = rules({"b:6059"});
  EXPECT_EQ(shown(find_forward_route(port, "b:6059", true)), "tcp b:6059");
  EXPECT_EQ(shown(find_forward_route(port, "b:6060", true)), "403");
  EXPECT_EQ(shown(find_forward_route(port, "ab:6059", true)), "403");
  EXPECT_EQ(shown(find_forward_route(rules({"[fd00::1]"}), "[fd00:0::1]:9999", true)), "tcp [fd00::1]:9999");
  auto cluster = rules();
  cluster.is_cluster_member = [](std::string_view host) { return host == "member"; };
  EXPECT_EQ(shown(find_forward_route(cluster, "member", true)), "https member:6060");
  EXPECT_EQ(shown(find_forward_route(cluster, "other", true)), "403");
  EXPECT_THAT(find_forward_route(cluster, "other", true).error().message, HasSubstr("REST.ForwardTargets"));
}

TEST(ForwardTarget, ABadTargetNamesTheHeader) {
  const auto bad = find_forward_route(rules(), "a:b:c", true);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().kind, ErrorKind::invalid_argument);
  EXPECT_THAT(bad.error().message, HasSubstr("X-Target-Host"));
}

}  // namespace
}  // namespace appmesh::transport

#include "runtime/launch.h"

#include <gmock/gmock.h>

#include "platform/test_directory.h"

namespace appmesh::runtime {
namespace {

using testing::Contains;
using testing::Not;
using testing::StartsWith;

class LaunchEnvironment : public testing::Test {
 protected:
  [[nodiscard]] std::vector<std::string> environment(const platform::User* user = nullptr,
                                                     const NotifyLaunch& notify = {}) const {
    RunTag tag;
    tag.kind = RunKind::health;
    auto launch = prepare_launch(definition_, RunId::random(), tag, outputs_, options_, user, notify);
    EXPECT_TRUE(launch) << launch.error().message;
    return launch ? std::move(launch->request.environment) : std::vector<std::string>{};
  }

  platform::TestDirectory folder_;
  OutputFiles outputs_{folder_.path()};
  core::AppDefinition definition_{.name = "app#2", .command = "/bin/true"};
  LaunchOptions options_{.default_directory = "/",
                         .inherited_environment = {"HOME=/inherited", "COLOR=daemon", "PATH=/daemon/bin", "odd", "=x"},
                         .own_user = {.name = "me", .home = "/home/me", .shell = "/bin/sh"}};
};

TEST_F(LaunchEnvironment, TheLastWordAboutANameCountsAndEachNameComesOnce) {
  definition_.env = {{"COLOR", "app"}, {"PATH", "/app/bin"}, {"PLAIN", "a=b"}};
  definition_.sec_env.emplace()["COLOR"] = "secret";
  const auto variables = environment();
  EXPECT_THAT(variables, Contains("COLOR=secret"));
  EXPECT_THAT(variables, Contains("PATH=/app/bin"));
  EXPECT_THAT(variables, Contains("PLAIN=a=b"));
  EXPECT_THAT(variables, Contains("HOME=/inherited"));
  EXPECT_THAT(variables, Contains("APP_MESH_APPLICATION_NAME=app"));
  EXPECT_THAT(variables, Not(Contains(StartsWith("odd"))));
  EXPECT_TRUE(std::ranges::is_sorted(variables, {}, [](std::string_view one) { return one.substr(0, one.find('=')); }));
  EXPECT_EQ(std::ranges::count_if(variables, [](std::string_view one) { return one.starts_with("COLOR="); }), 1);
}

TEST_F(LaunchEnvironment, AnotherUserDoesNotGetTheDaemonsSession) {
  const platform::User other{.name = "other", .uid = ::geteuid(), .gid = ::getegid(), .shell = "/bin/other"};
  const auto variables = environment(&other);
  EXPECT_THAT(variables, Contains("USER=other"));
  EXPECT_THAT(variables, Contains("LOGNAME=other"));
  EXPECT_THAT(variables, Contains("SHELL=/bin/other"));
  EXPECT_THAT(variables, Not(Contains(StartsWith("HOME="))));
}

TEST_F(LaunchEnvironment, OnlyTheDaemonSaysWhatTheNotifySocketIs) {
  definition_.env = {{"NOTIFY_SOCKET", "/mine"}, {"WATCHDOG_USEC", "1"}};
  definition_.watchdog_seconds = 3;
  EXPECT_THAT(environment(), Not(Contains(StartsWith("NOTIFY_SOCKET="))));
  EXPECT_THAT(environment(), Not(Contains(StartsWith("WATCHDOG_USEC="))));
  const auto told = environment(nullptr, {.socket = 99, .address = "/given"});
  EXPECT_THAT(told, Contains("NOTIFY_SOCKET=/given"));
  EXPECT_THAT(told, Contains("WATCHDOG_USEC=3000000"));
}

}  // namespace
}  // namespace appmesh::runtime

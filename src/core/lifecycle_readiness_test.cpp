// Readiness and watchdog: a test a row.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

AppDefinition by(ReadinessKind kind, std::int64_t patience = 0) {
  AppDefinition d;
  d.readiness = Readiness{.by = kind, .pattern = "up", .timeout_seconds = patience};
  return d;
}

TEST_F(LifecycleTest, WithoutReadinessAStartedRunIsReadyUntilItExits) {
  run();
  EXPECT_TRUE(state.ready);
  step(event::RunExited{.run = 1});
  EXPECT_FALSE(state.ready);
}

TEST_F(LifecycleTest, ByNotifyOrLogTheRunSaysSo) {
  for (const auto kind : {ReadinessKind::notify, ReadinessKind::log}) {
    define(by(kind));
    run();
    EXPECT_FALSE(state.ready);
    EXPECT_THAT(step(event::RunReady{.run = 2}), IsEmpty());
    EXPECT_FALSE(state.ready) << "another run";
    step(event::RunReady{.run = 1});
    EXPECT_TRUE(state.ready);
    EXPECT_TRUE(persisted);
    step(event::RunReady{.run = 1, .ready = false});
    EXPECT_FALSE(state.ready);
    EXPECT_TRUE(persisted);
  }
}

TEST_F(LifecycleTest, ByHealthTheFirstGoodCheckMakesReadyForGood) {
  AppDefinition d = by(ReadinessKind::health);
  d.health_check_cmd = "true";
  define(d);
  run();
  EXPECT_FALSE(state.ready);
  step(event::HealthChanged{true});
  EXPECT_TRUE(state.ready);
  step(event::HealthChanged{false});
  EXPECT_TRUE(state.ready);
}

TEST_F(LifecycleTest, ARunThatIsNotReadyInTimeIsStoppedAndItsPolicyApplies) {
  for (const auto action : {ExitAction::standby, ExitAction::restart}) {
    AppDefinition d = by(ReadinessKind::notify, 5);
    d.behavior.exit = action;
    define(d);
    step(event::Defined{});
    EXPECT_THAT(step(event::RunStarted{.run = 1}),
                ElementsAre("START", "HEALTH", fmt::format("arm steady {}", elapsed / seconds(1) + 5)));
    pass(5);
    EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3"));
    step(event::RunExited{.run = 1, .return_code = -15});
    EXPECT_EQ(state.last_error().text, "exited with return code: -15, msg: not ready within 5 s (readiness by notify)");
    if (action == ExitAction::standby)
      EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
    else
      EXPECT_THAT(step(event::RunGone{1}), ElementsAre("start 2"));
  }
}

TEST_F(LifecycleTest, ReadyInTimeDisarmsTheTimer) {
  define(by(ReadinessKind::notify, 5));
  run();
  EXPECT_THAT(step(event::RunReady{.run = 1}), ElementsAre("cancel"));
  pass(5);
  EXPECT_THAT(step(event::TimerDue{}), IsEmpty());
}

TEST_F(LifecycleTest, AChangeOfTheDefinitionUnderARunTakesNothingBackAndMayMakeReady) {
  define(by(ReadinessKind::log, 5));
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.readiness->timeout_seconds = 9; }), ElementsAre("arm steady 9"));
  EXPECT_THAT(redefine([](AppDefinition& d) { d.readiness.reset(); }), ElementsAre("cancel"));
  EXPECT_TRUE(state.ready);
  redefine([](AppDefinition& d) { d.readiness = Readiness{.by = ReadinessKind::log, .pattern = "x"}; });
  EXPECT_TRUE(state.ready);
}

TEST_F(LifecycleTest, ARunThatSaidItIsAboutToEndIsNotWaitedForAgain) {
  AppDefinition d = by(ReadinessKind::notify, 5);
  d.health_check_cmd = "true";
  define(d);
  run();
  step(event::RunReady{.run = 1});
  step(event::RunReady{.run = 1, .ready = false});
  pass(60);
  EXPECT_THAT(step(event::HealthChanged{true}), ElementsAre("HEALTH"));
  EXPECT_EQ(state.ready_by, std::nullopt);
}

TEST_F(LifecycleTest, ASilentRunIsEndedWithAbrtAndItsPolicyApplies) {
  AppDefinition d;
  d.watchdog_seconds = 7;
  d.behavior.exit = ExitAction::restart;
  define(d);
  run();
  EXPECT_THAT(step(event::WatchdogExpired{.run = 9}), IsEmpty());
  EXPECT_THAT(step(event::WatchdogExpired{.run = 1}), ElementsAre("stop 1 grace 3 abort"));
  EXPECT_THAT(step(event::WatchdogExpired{.run = 1}), IsEmpty()) << "once";
  EXPECT_THAT(end(-6), ElementsAre("start 2"));
  EXPECT_THAT(state.last_error().text, HasSubstr("watchdog: no WATCHDOG=1 for 7 s"));
}

TEST_F(LifecycleTest, TheStatusBelongsToTheRun) {
  run();
  step(event::RunStatus{.run = 1, .text = "busy"});
  EXPECT_EQ(state.status_text, "busy");
  EXPECT_TRUE(persisted);
  step(event::RunStatus{.run = 1, .text = "busy"});
  EXPECT_FALSE(persisted);
  end();
  EXPECT_EQ(state.status_text, "");
}

TEST_F(LifecycleTest, ReadinessOutlivesTheDaemonAndWhatIsLateIsHeardFirst) {
  define(by(ReadinessKind::notify, 5));
  run();
  step(event::RunStatus{.run = 1, .text = "busy"});
  const auto saved = save();
  pass(60);
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("arm steady 63")) << "a moment to hear what it said";
  step(event::RunReady{.run = 1});
  const auto ready = save();
  reload(ready);
  EXPECT_TRUE(state.ready);
  EXPECT_EQ(state.status_text, "busy");
  EXPECT_THAT(recover(1, RecoveredRun::running), IsEmpty());
  EXPECT_TRUE(state.ready);
}

}  // namespace
}  // namespace appmesh::core

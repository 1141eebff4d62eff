// From the first plan to the end of a run and what its exit policy makes of it; starts that fail.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- Defined ----

TEST_F(LifecycleTest, ANewAppStartsAtOnce) {
  EXPECT_THAT(step(event::Defined{}), ElementsAre("start 1"));
  EXPECT_TRUE(persisted);
  EXPECT_EQ(state.phase, Phase::starting);
}

TEST_F(LifecycleTest, ANewDisabledAppRests) {
  define({.status = AppStatus::disabled});
  EXPECT_THAT(step(event::Defined{}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(LifecycleTest, AnAppWithAStartInTheFutureWaitsForIt) {
  define({.start_time = kStart + 50});
  EXPECT_THAT(step(event::Defined{}), ElementsAre("arm +50"));
  EXPECT_EQ(state.phase, Phase::waiting);
  EXPECT_EQ(epoch_seconds(state.next_start->wall), kStart + 50);
  pass(50);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 1"));
}

TEST_F(LifecycleTest, AnAppPastItsEndRestsAndSaysWhy) {
  define({.end_time = kStart});
  EXPECT_THAT(step(event::Defined{}), IsEmpty());
  EXPECT_EQ(state.last_error().text, "outside valid time range");
}

TEST_F(LifecycleTest, AClockSetBackIntoTheRangeWakesADormantApp) {
  define({.end_time = kStart});
  step(event::Defined{});
  pass(-10);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 1", "arm +0"));
}

// ---- A run ----

TEST_F(LifecycleTest, AStartedRunIsCountedAndTold) {
  step(event::Defined{});
  EXPECT_THAT(step(event::RunStarted{.run = 1}), ElementsAre("START", "HEALTH"));
  EXPECT_EQ(state.starts, 1U);
  EXPECT_TRUE(state.healthy);
  EXPECT_EQ(state.last_start, now().wall);
}

TEST_F(LifecycleTest, WithAHealthCheckARunIsNotHealthyYet) {
  define({.health_check_cmd = "true"});
  step(event::Defined{});
  EXPECT_THAT(step(event::RunStarted{.run = 1}), ElementsAre("START"));
  EXPECT_FALSE(state.healthy);
  EXPECT_THAT(step(event::HealthChanged{true}), ElementsAre("HEALTH"));
  EXPECT_THAT(step(event::HealthChanged{true}), IsEmpty());
}

TEST_F(LifecycleTest, AnExitIsRecordedAndTheRestOfTheRunDrained) {
  run();
  EXPECT_THAT(step(event::RunExited{.run = 1, .return_code = 41, .note = "out of memory"}),
              ElementsAre("EXIT", "HEALTH", "drain 1"));
  EXPECT_EQ(state.return_code, 41);
  EXPECT_EQ(state.last_error().text, "exited with return code: 41, msg: out of memory");
  EXPECT_EQ(state.phase, Phase::draining);
}

TEST_F(LifecycleTest, AnUnknownExitCountsAsZeroAndSaysSo) {
  run();
  step(event::RunExited{.run = 1, .return_code = 77, .known = false});
  EXPECT_EQ(state.return_code, 0);
  EXPECT_THAT(state.last_error().text, HasSubstr("exit status unknown"));
}

TEST_F(LifecycleTest, LeftoversMayLive) {
  define({.behavior = {.leftovers = Leftovers::leave}});
  run();
  EXPECT_THAT(step(event::RunExited{.run = 1}), ElementsAre("EXIT", "HEALTH", "drain 1 leave"));
}

TEST_F(LifecycleTest, ReportsOfOtherRunsAreIgnored) {
  run();
  for (const Event& event :
       std::vector<Event>{event::RunStarted{.run = 9}, event::StartFailed{.run = 9}, event::RunExited{.run = 9},
                          event::RunGone{.run = 9}, event::RunStarted{.run = 0}, event::RunStarted{.run = 1},
                          event::RunGone{.run = 1}, event::StartFailed{.run = 1}})
    EXPECT_THAT(step(event), IsEmpty());
  EXPECT_FALSE(persisted);
  EXPECT_EQ(state.phase, Phase::running);
}

// ---- Exit policies ----

TEST_F(LifecycleTest, StandbyRestsAfterAnExit) {
  run();
  EXPECT_THAT(end(), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_THAT(step(event::TimerDue{}), IsEmpty());
}

TEST_F(LifecycleTest, RestartAndKeepaliveBackOffInDoublingSteps) {
  for (const ExitAction action : {ExitAction::restart, ExitAction::keepalive}) {
    define_exit(action);
    run();
    EXPECT_THAT(end(1), ElementsAre("start 2"));
    for (const int delay : {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}) {
      step(event::RunStarted{.run = state.current_run});
      const auto due = elapsed / seconds(1) + delay;
      EXPECT_THAT(end(1), ElementsAre(fmt::format("arm steady {}", due)));
      EXPECT_EQ(state.last_error().text, fmt::format("exited with return code: 1; restart in {} s (back-off)", delay));
      EXPECT_EQ(state.next_start->wall, now().wall + seconds(delay));
      EXPECT_THAT(step(event::TimerDue{}), ElementsAre(fmt::format("arm steady {}", due))) << "not yet due";
      pass(delay);
      const RunNumber next = state.last_run + 1;
      EXPECT_THAT(step(event::TimerDue{}), ElementsAre(fmt::format("start {}", next)));
      EXPECT_EQ(state.last_error().text, "exited with return code: 1");
    }
  }
}

TEST_F(LifecycleTest, ARunOfAMinuteResetsTheBackOff) {
  define_exit(ExitAction::restart);
  run();
  end();
  step(event::RunStarted{.run = 2});
  pass(60);
  EXPECT_THAT(end(), ElementsAre("start 3"));
}

TEST_F(LifecycleTest, ControlByExitCodeComesBeforeThePolicy) {
  define({.behavior = {.exit = ExitAction::restart, .control = {{0, ExitAction::standby}, {-9, ExitAction::remove}}}});
  run();
  EXPECT_THAT(end(0), IsEmpty());
  define({.behavior = {.control = {{41, ExitAction::restart}}}});
  run();
  EXPECT_THAT(end(41), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, RemoveDeletesAtOnceOrAfterTheRetention) {
  define_exit(ExitAction::remove);
  run();
  EXPECT_THAT(end(), ElementsAre("REMOVED", "delete"));

  define({.behavior = {.exit = ExitAction::remove}, .retention = DurationText{"30", seconds(30)}});
  run();
  EXPECT_THAT(end(), ElementsAre("arm steady 30"));
  pass(30);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("REMOVED", "delete"));
}

// ---- Failed starts ----

TEST_F(LifecycleTest, AFailedStartIsRetriedWithTheBackOff) {
  step(event::Defined{});
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "exec: No such file or directory"}), ElementsAre("start 2"));
  EXPECT_THAT(step(event::StartFailed{.run = 2, .reason = "exec: No such file or directory"}),
              ElementsAre("arm steady 1"));
  EXPECT_EQ(state.last_error().text, "exec: No such file or directory; restart in 1 s (back-off)");
  EXPECT_EQ(state.starts, 0U);
  EXPECT_FALSE(state.return_code);
}

TEST_F(LifecycleTest, ALostKeeperFailsOnlyAStartInFlight) {
  step(event::Defined{});
  EXPECT_THAT(step(event::KeeperLost{}), ElementsAre("start 2"));
  EXPECT_EQ(state.last_error().text, "keeper restarted");
  step(event::RunStarted{.run = 2});
  EXPECT_THAT(step(event::KeeperLost{}), IsEmpty());
}

}  // namespace
}  // namespace appmesh::core

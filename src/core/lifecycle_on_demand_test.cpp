// On-demand runs: one run, a time-out and a lifetime.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- On-demand runs ----

class OnDemandTest : public LifecycleTest {
 protected:
  OnDemandTest() {
    define({.status = AppStatus::not_available});
    state.on_demand = OnDemand{.timeout = seconds(10), .remove_at = now().steady + seconds(100)};
  }
};

TEST_F(OnDemandTest, ARunIsKilledAtItsTimeoutAndForgottenAtItsLifetime) {
  EXPECT_THAT(step(event::Defined{}), ElementsAre("start 1", "arm steady 10"));
  step(event::RunStarted{.run = 1});
  pass(10);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm steady 100"));
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  pass(90);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("REMOVED", "delete"));
}

TEST_F(OnDemandTest, WithoutATimeoutOnlyItsLifetimeCounts) {
  state.on_demand->timeout = seconds(0);
  EXPECT_THAT(step(event::Defined{}), ElementsAre("start 1", "arm steady 100"));
}

TEST_F(OnDemandTest, NoPolicyAppliesToIt) {
  define({.behavior = {.exit = ExitAction::restart}, .status = AppStatus::not_available});
  state.on_demand = OnDemand{};
  run();
  EXPECT_THAT(end(1), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(OnDemandTest, AFailedStartIsNotRetried) {
  step(event::Defined{});
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "exec: x"}), ElementsAre("arm steady 100"));
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "exec: x");
}

TEST_F(OnDemandTest, TheLifetimeEndsALivingRun) {
  run();
  pass(100);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "REMOVED", "delete"));
}

TEST_F(OnDemandTest, EnableDisableAndRestartAreNotForIt) {
  run();
  EXPECT_THAT(step(event::Disabled{}), IsEmpty());
  EXPECT_THAT(step(event::Enabled{}), IsEmpty());
  EXPECT_THAT(step(event::RestartRequested{}), IsEmpty());
}

TEST_F(OnDemandTest, ItsTimersGoOnAfterADaemonRestart) {
  run();
  const auto saved = save();
  pass(5);
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("arm steady 10"));
  EXPECT_EQ(state.starts, 1U);
}

TEST_F(OnDemandTest, AClockThatIsSetCutsNoWaitAndStretchesNone) {
  run();
  for (const int step_seconds : {3600, -7200}) {
    wall_shift += seconds(step_seconds);
    EXPECT_THAT(step(event::TimerDue{}), ElementsAre("arm steady 10")) << "the timer is only set again";
    EXPECT_EQ(state.phase, Phase::running);
  }
  pass(10);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm steady 100"));
}

TEST_F(OnDemandTest, AnOlderSavedStateTellsOnlyItsEnds) {
  run();
  auto saved = save();
  saved["on_demand"].as_object().erase("kill_left");
  saved["on_demand"].as_object().erase("remove_left");
  pass(5);
  reload(saved);
  EXPECT_EQ(state.on_demand->kill_at, SteadyTime(seconds(10)));
  EXPECT_EQ(state.on_demand->remove_at, SteadyTime(seconds(100)));
}

TEST_F(OnDemandTest, AStartThatNeverHappenedIsForgotten) {
  step(event::Defined{});
  reload(save());
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("REMOVED", "delete"));
}

}  // namespace
}  // namespace appmesh::core

// On-demand runs: one run, a time-out and a lifetime.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- On-demand runs ----

class OnDemandTest : public LifecycleTest {
 protected:
  OnDemandTest() {
    define({.status = AppStatus::not_available});
    state.on_demand = OnDemand{.timeout = seconds(10), .remove_at = now().wall + seconds(100)};
  }
};

TEST_F(OnDemandTest, ARunIsKilledAtItsTimeoutAndForgottenAtItsLifetime) {
  EXPECT_THAT(step(event::Defined{}), ElementsAre("start 1", "arm +10"));
  step(event::RunStarted{.run = 1});
  pass(10);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm +100"));
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  pass(90);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("REMOVED", "delete"));
}

TEST_F(OnDemandTest, WithoutATimeoutOnlyItsLifetimeCounts) {
  state.on_demand->timeout = seconds(0);
  EXPECT_THAT(step(event::Defined{}), ElementsAre("start 1", "arm +100"));
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
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "exec: x"}), ElementsAre("arm +100"));
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error, "exec: x");
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
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("arm +10"));
  EXPECT_EQ(state.starts, 1U);
}

TEST_F(OnDemandTest, AStartThatNeverHappenedIsForgotten) {
  step(event::Defined{});
  reload(save());
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("REMOVED", "delete"));
}

}  // namespace
}  // namespace appmesh::core

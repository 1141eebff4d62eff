// The handover of a recurring app with retention: two runs side by side, and how both end.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

class HandoverTest : public LifecycleTest {
 protected:
  HandoverTest() {
    policy.handover = true;
    define_with({});
  }

  // Occurrences at +1, +61, +121 …
  void define_with(Behavior behavior, int retention = 20) {
    define({.behavior = std::move(behavior),
            .retention = DurationText{std::to_string(retention), seconds(retention)},
            .start_interval = DurationText{"60", seconds(60)}});
  }
  void run_first() {
    step(event::Defined{});
    pass(1);
    step(event::TimerDue{});
    step(event::RunStarted{.run = 1});
  }
  // Run 1 is handed over at +61, run 2 lives.
  void hand_over() {
    run_first();
    pass(60);
    step(event::TimerDue{});
    step(event::RunStarted{.run = 2});
    ASSERT_EQ(state.outgoing_run, 1U);
    ASSERT_EQ(state.current_run, 2U);
  }
  std::vector<std::string> exit_of(RunNumber run, int code = 0) {
    return step(event::RunExited{.run = run, .return_code = code});
  }
};

TEST_F(HandoverTest, AnOccurrenceStartsBesideTheRunThatStillLives) {
  run_first();
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 2", "arm steady 81"));
  EXPECT_EQ(state.outgoing_run, 1U);
  EXPECT_EQ(state.current_run, 2U);
  EXPECT_THAT(step(event::RunStarted{.run = 2}), ElementsAre("START"));
  EXPECT_EQ(epoch_seconds(state.next_start->wall), kStart + 121);
}

TEST_F(HandoverTest, WithoutRetentionTheOldRunIsStoppedFirst) {
  define_with({}, 0);
  run_first();
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3"));
  EXPECT_EQ(state.outgoing_run, 0U);
  exit_of(1, -9);
  EXPECT_THAT(step(event::RunGone{1}), ElementsAre("start 2", "arm +121"));
}

TEST_F(HandoverTest, TheOldRunMayFinishAndSaysHow) {
  hand_over();
  pass(5);
  EXPECT_THAT(exit_of(1, 3), ElementsAre("EXIT", "drain 1", "arm +121"));
  EXPECT_EQ(state.return_code, 3);
  EXPECT_EQ(state.last_error().text, "exited with return code: 3");
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_TRUE(state.healthy);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.outgoing_run, 0U);
}

TEST_F(HandoverTest, WhenItsTimeIsUsedUpItIsStoppedWithTheOrdinaryGrace) {
  hand_over();
  pass(20);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm +121"));
  EXPECT_THAT(exit_of(1, -15), ElementsAre("EXIT", "drain 1"));
  step(event::RunGone{1});
  EXPECT_EQ(state.phase, Phase::running);
}

TEST_F(HandoverTest, ASecondReplacementStopsTheOlderOneAndStartsWhenItIsGone) {
  define_with({}, 600);
  hand_over();
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm +181"));
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), ElementsAre("start 3"));
  EXPECT_EQ(state.outgoing_run, 2U);
  EXPECT_EQ(state.current_run, 3U);
}

TEST_F(HandoverTest, ADueOccurrenceStartsWhenTheCurrentRunEndsFirst) {
  define_with({}, 600);
  hand_over();
  pass(60);
  step(event::TimerDue{});
  exit_of(2);
  EXPECT_THAT(step(event::RunGone{2}), ElementsAre("start 3", "arm +181"));
  EXPECT_EQ(state.outgoing_run, 1U);
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.current_run, 3U);
}

TEST_F(HandoverTest, TheExitPolicyLooksAtTheCurrentRunOnly) {
  define_with({.control = {{7, ExitAction::keepalive}}});
  hand_over();
  EXPECT_THAT(exit_of(1, 7), ElementsAre("EXIT", "drain 1", "arm +121"));
  exit_of(2, 0);
  EXPECT_THAT(step(event::RunGone{2}), ElementsAre("arm +121"));
  EXPECT_EQ(state.phase, Phase::waiting);
}

TEST_F(HandoverTest, AnExitOfTheOldRunDoesNotHideTheCodeOfTheCurrentOneFromThePolicy) {
  define_with({.control = {{7, ExitAction::keepalive}}});
  hand_over();
  exit_of(2, 7);
  exit_of(1, 0);
  EXPECT_THAT(step(event::RunGone{2}), ElementsAre("start 3", "arm +121"));
}

TEST_F(HandoverTest, DisableStopsBoth) {
  hand_over();
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 20", "stop 2 grace 20", "cancel"));
  exit_of(2, -15);
  EXPECT_THAT(step(event::RunGone{2}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::stopping);
  EXPECT_EQ(state.current_run, 1U);
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "not enabled");
}

TEST_F(HandoverTest, DisableStopsTheOldRunWhenItIsAllThatIsLeft) {
  hand_over();
  exit_of(2);
  step(event::RunGone{2});
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 20", "cancel"));
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(HandoverTest, EnabledWithinTheGraceItWaitsForTheEndOfBoth) {
  hand_over();
  step(event::Disabled{});
  step(event::Enabled{});
  exit_of(2, -15);
  EXPECT_THAT(step(event::RunGone{2}), IsEmpty());
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), ElementsAre("arm +121"));
}

TEST_F(HandoverTest, RestartStopsBothAndStartsWhenBothAreGone) {
  hand_over();
  EXPECT_THAT(step(event::RestartRequested{}), ElementsAre("stop 1 grace 20", "stop 2 grace 20", "cancel"));
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  exit_of(2, -15);
  EXPECT_THAT(step(event::RunGone{2}), ElementsAre("start 3", "arm +121"));
}

TEST_F(HandoverTest, ANewCommandStopsBothAndANewDescriptionNone) {
  hand_over();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.description = "x"; }), IsEmpty());
  EXPECT_THAT(redefine([](AppDefinition& d) { d.command = "x"; }),
              ElementsAre("stop 1 grace 20", "stop 2 grace 20", "cancel"));
}

TEST_F(HandoverTest, ANewCommandOfAWaitingAppStopsTheOldRunAndPlansAnew) {
  hand_over();
  exit_of(2);
  step(event::RunGone{2});
  EXPECT_THAT(redefine([](AppDefinition& d) { d.command = "x"; }), ElementsAre("stop 1 grace 20", "cancel"));
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), ElementsAre("arm +121"));
  EXPECT_EQ(state.phase, Phase::waiting);
}

TEST_F(HandoverTest, RemoveStopsBoth) {
  hand_over();
  EXPECT_THAT(step(event::Removed{}), ElementsAre("stop 2 grace 20", "stop 1 grace 20", "REMOVED", "cancel", "delete"));
  EXPECT_THAT(exit_of(1), ElementsAre("drain 1"));
  EXPECT_THAT(exit_of(2), ElementsAre("drain 2"));
}

TEST_F(HandoverTest, AWindowThatClosesStopsBoth) {
  hand_over();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.end_time = kStart + 70; }), ElementsAre("arm +70"));
  pass(9);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 20", "stop 2 grace 20"));
  exit_of(2, -15);
  step(event::RunGone{2});
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.last_error().text, "outside valid time range");
}

TEST_F(HandoverTest, AFailedStartLeavesTheOldRunItsTime) {
  run_first();
  pass(60);
  step(event::TimerDue{});
  EXPECT_THAT(step(event::StartFailed{2, "exec: x"}), ElementsAre("HEALTH"));
  EXPECT_EQ(state.phase, Phase::waiting);
  pass(20);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm +121"));
}

// ---- Recovery ----

TEST_F(HandoverTest, TwoRunsSurviveBeingSaved) {
  hand_over();
  const auto same_after_reload = [&] {
    const auto saved = save();
    reload(saved);
    EXPECT_EQ(save(), saved);
  };
  same_after_reload();
  pass(20);
  step(event::TimerDue{});
  same_after_reload();
  exit_of(1, -15);
  same_after_reload();
}

TEST_F(HandoverTest, AfterADaemonRestartTheOldRunKeepsItsDeadline) {
  hand_over();
  const auto saved = save();
  pass(5);
  reload(saved);
  EXPECT_THAT(recover(2, RecoveredRun::running, {{1, RecoveredRun::running}}), ElementsAre("arm steady 81"));
  EXPECT_EQ(state.outgoing_run, 1U);
  pass(15);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3", "arm +121"));
}

TEST_F(HandoverTest, AStopOfTheOldRunIsAskedForAgain) {
  hand_over();
  pass(20);
  step(event::TimerDue{});
  reload(save());
  EXPECT_THAT(recover(2, RecoveredRun::running, {{1, RecoveredRun::running}}),
              ElementsAre("stop 1 grace 3", "arm +121"));
}

TEST_F(HandoverTest, AnExitOfTheOldRunWhileTheDaemonWasAwayIsTold) {
  hand_over();
  reload(save());
  recover(2, RecoveredRun::running, {{1, RecoveredRun::exited}});
  EXPECT_THAT(exit_of(1, 4), ElementsAre("EXIT", "drain 1", "arm +121"));
}

TEST_F(HandoverTest, AnOldRunThatNobodyKnowsEndsUnknownAndItsRestIsDrained) {
  hand_over();
  reload(save());
  EXPECT_THAT(recover(2, RecoveredRun::running), ElementsAre("EXIT", "drain 1", "arm +121"));
  EXPECT_THAT(state.last_error().text, HasSubstr("exit status unknown"));
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.current_run, 2U);
}

TEST_F(HandoverTest, AStateFromBeforeTheHandoverLearnsOfIt) {
  run_first();
  const auto saved = save();
  pass(62);
  reload(saved);
  EXPECT_THAT(recover(2, RecoveredRun::running, {{1, RecoveredRun::running}}), ElementsAre("arm steady 83"));
  EXPECT_EQ(state.outgoing_run, 1U);
  EXPECT_EQ(state.current_run, 2U);
  EXPECT_EQ(state.starts, 2U);
}

TEST_F(HandoverTest, AStartThatNeverHappenedIsMadeAgainBesideTheOldRun) {
  run_first();
  pass(60);
  step(event::TimerDue{});
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("start 3", "arm steady 81"));
  EXPECT_EQ(state.outgoing_run, 1U);
}

TEST_F(HandoverTest, ADisableInTheFileStopsBoth) {
  hand_over();
  const auto saved = save();
  step(event::Disabled{});
  reload(saved);
  EXPECT_THAT(recover(2, RecoveredRun::running, {{1, RecoveredRun::running}}),
              ElementsAre("stop 1 grace 20", "stop 2 grace 20"));
}

TEST_F(HandoverTest, ADisableInTheFileStopsTheOldRunWhenItIsAllThatIsLeft) {
  hand_over();
  exit_of(2);
  step(event::RunGone{2});
  const auto saved = save();
  step(event::Disabled{});
  reload(saved);
  EXPECT_THAT(recover(2, RecoveredRun::none, {{1, RecoveredRun::running}}), ElementsAre("stop 1 grace 20"));
  exit_of(1, -15);
  EXPECT_THAT(step(event::RunGone{1}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(HandoverTest, BothAreLostWithTheHost) {
  hand_over();
  reload(save());
  EXPECT_THAT(recover(2, RecoveredRun::lost), ElementsAre("EXIT", "EXIT", "HEALTH", "arm +121"));
  EXPECT_EQ(state.outgoing_run, 0U);
  EXPECT_EQ(state.phase, Phase::waiting);
}

TEST_F(HandoverTest, ADamagedOutgoingRunIsRefused) {
  hand_over();
  for (const auto& [field, value] :
       boost::json::object{{"outgoing_run", 0}, {"outgoing_run", 2}, {"outgoing_run", 9}, {"outgoing", 1}}) {
    auto bad = save();
    bad[field] = value;
    LifecycleState loaded;
    loaded.definition = state.definition;
    EXPECT_FALSE(load_state(loaded, bad, now())) << field << value;
  }
}

}  // namespace
}  // namespace appmesh::core

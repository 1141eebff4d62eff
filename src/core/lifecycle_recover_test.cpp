// What survives a restart of the daemon, of the keeper and of the host.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- Recovery ----

TEST_F(LifecycleTest, AFreshAppStartsWhenTheDaemonStarts) {
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("start 1"));
}

TEST_F(LifecycleTest, ALivingRunIsTakenOverAndNotStartedAgain) {
  run();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::running), IsEmpty());
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_EQ(state.starts, 1U);
}

TEST_F(LifecycleTest, AnOldStateCatchesUpWithANewerRun) {
  run();
  const auto saved = save();
  reload(saved);
  EXPECT_THAT(recover(4, RecoveredRun::running), IsEmpty());
  EXPECT_EQ(state.current_run, 4U);
  EXPECT_EQ(state.starts, 4U);
  EXPECT_EQ(state.phase, Phase::running);
}

TEST_F(LifecycleTest, ARunOfAnAppWithoutSavedStateIsTakenOver) {
  EXPECT_THAT(recover(3, RecoveredRun::running), IsEmpty());
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_EQ(state.starts, 3U);
}

TEST_F(LifecycleTest, AnExitWhileTheDaemonWasAwayIsDecidedNormally) {
  define_exit(ExitAction::restart);
  run();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::exited), IsEmpty());
  EXPECT_THAT(step(event::RunExited{.run = 1, .return_code = 3}), ElementsAre("EXIT", "HEALTH", "drain 1"));
  EXPECT_EQ(state.return_code, 3);
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, AnExitAlreadyDecidedIsNotDecidedAgain) {
  run();
  end();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::exited), IsEmpty());
  EXPECT_THAT(step(event::RunExited{.run = 1}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(LifecycleTest, WhatRestsAfterItsExitIsNotStartedByADaemonRestart) {
  run();
  end();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::none), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(LifecycleTest, ARunThatNobodyKnowsEndsUnknownAndItsRestIsDrained) {
  define_exit(ExitAction::restart);
  run();
  reload(save());
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("EXIT", "HEALTH", "drain 1"));
  EXPECT_THAT(state.last_error().text, HasSubstr("exit status unknown"));
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ARunLostWithTheHostIsDecidedByThePolicy) {
  define_exit(ExitAction::restart);
  run();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::lost), ElementsAre("EXIT", "HEALTH", "start 2"));

  define_exit(ExitAction::standby);
  run();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::lost), ElementsAre("EXIT", "HEALTH"));
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(LifecycleTest, ARunLostWithTheHostMayBeStartedAnew) {
  policy.restart_lost_runs = true;
  run();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::lost), ElementsAre("EXIT", "HEALTH", "start 2"));
}

TEST_F(LifecycleTest, AStartThatTheKeeperNeverSawIsMadeAgain) {
  step(event::Defined{});
  reload(save());
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("start 2"));
  EXPECT_EQ(state.starts, 0U);
}

TEST_F(LifecycleTest, AStartThatHappenedWhileTheStateWasSavedIsCountedOnce) {
  step(event::Defined{});
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::running), IsEmpty());
  EXPECT_EQ(state.starts, 1U);
}

TEST_F(LifecycleTest, AStopUnderWayIsAskedForAgain) {
  run();
  step(event::RestartRequested{});
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("stop 1 grace 3"));
  step(event::RunExited{.run = 1, .return_code = -15});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ADrainUnderWayIsDoneAgain) {
  define_exit(ExitAction::restart);
  run();
  step(event::RunExited{.run = 1});
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::none), ElementsAre("drain 1"));
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ABackOffGoesOnWhereItWas) {
  define_exit(ExitAction::restart);
  run();
  end();
  step(event::RunStarted{.run = 2});
  end();
  step(event::TimerDue{});
  const auto saved = save();
  elapsed += std::chrono::milliseconds(400);
  reload(saved);
  EXPECT_THAT(recover(2, RecoveredRun::none), ElementsAre("arm steady 1"));
  elapsed += std::chrono::milliseconds(600);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 3"));
}

TEST_F(LifecycleTest, ADisableInTheFileStopsARunThatTheStateThoughtEnabled) {
  run();
  const auto saved = save();
  step(event::Disabled{});  // the file follows at once, the state was not saved
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::running), ElementsAre("stop 1 grace 3"));
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(LifecycleTest, ADisableInTheFileKeepsAnUnseenExitFromBeingRestarted) {
  define_exit(ExitAction::restart);
  run();
  const auto saved = save();
  step(event::Disabled{});
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::exited), IsEmpty());
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.last_error().text, "not enabled");
}

TEST_F(LifecycleTest, AnEnableInTheFileStartsAnApp) {
  run();
  step(event::Disabled{});
  end(-15);
  const auto saved = save();
  step(event::Enabled{});
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::none), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ADelayedRemovalGoesOn) {
  define({.behavior = {.exit = ExitAction::remove}, .retention = DurationText{"30", seconds(30)}});
  run();
  end();
  reload(save());
  EXPECT_THAT(recover(1, RecoveredRun::none), ElementsAre("arm steady 30"));
}

TEST_F(LifecycleTest, APlanOfAScheduleThatWasEditedMeanwhileIsMadeAnew) {
  define({.start_interval = DurationText{"60", seconds(60)}});
  step(event::Defined{});
  const auto saved = save();  // planned for +1
  define({.start_interval = DurationText{"60", seconds(60)}, .start_time = kStart + 30});
  reload(saved);
  EXPECT_THAT(recover(0, RecoveredRun::none), ElementsAre("arm +30"));
}

TEST_F(LifecycleTest, ARunOfAnAppThatIsNoLongerRecurringIsNotStartedAgain) {
  define({.start_interval = DurationText{"60", seconds(60)}});
  step(event::Defined{});
  pass(1);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  const auto saved = save();
  define({});
  reload(saved);
  EXPECT_THAT(recover(1, RecoveredRun::running), IsEmpty());
  EXPECT_FALSE(state.next_start);
}

// ---- Saved state ----

TEST_F(LifecycleTest, TheStateSurvivesBeingSaved) {
  define({.health_check_cmd = "true", .behavior = {.exit = ExitAction::restart}});
  const auto same_after_reload = [&] {
    const auto saved = save();
    reload(saved);
    EXPECT_EQ(save(), saved);
  };
  step(event::Defined{});
  same_after_reload();
  step(event::RunStarted{.run = 1});
  step(event::HealthChanged{true});
  same_after_reload();
  step(event::RestartRequested{});
  same_after_reload();
  end(-15);
  step(event::RunStarted{.run = 2});
  end(7);
  step(event::RunStarted{.run = 3});
  end(7);
  ASSERT_EQ(state.phase, Phase::waiting);
  same_after_reload();
}

TEST_F(LifecycleTest, ADamagedStateIsRefusedAndChangesNothing) {
  run();
  const auto good = save();
  for (const auto& [field, value] : boost::json::object{{"phase", 99},
                                                        {"phase", "idle"},
                                                        {"current_run", -1},
                                                        {"current_run", 7},
                                                        {"last_error", 5},
                                                        {"healthy", 1},
                                                        {"next_start", 1},
                                                        {"last_exit", 1e300}}) {
    auto bad = good;
    bad[field] = value;
    LifecycleState loaded;
    loaded.definition = state.definition;
    EXPECT_FALSE(load_state(loaded, bad, now())) << field;
    EXPECT_EQ(loaded.phase, Phase::idle);
  }
}

TEST_F(LifecycleTest, AWallClockSetForwardDoesNotShortenABackOff) {
  define_exit(ExitAction::restart);
  run();
  end();
  step(event::RunStarted{.run = 2});
  end();
  const Now jumped{now().wall + std::chrono::hours(1), now().steady};
  EXPECT_THAT(words(core::step(state, event::TimerDue{}, jumped, policy)), ElementsAre("arm steady 1"));
}

// ---- The definition was edited while nobody looked ----

class EditedWhileDownTest : public LifecycleTest {
 protected:
  void edit(auto change) {
    before = state.definition;
    AppDefinition d = *before;
    change(d);
    saved = save();
    state.definition = std::make_shared<AppDefinition>(d);
    reload(saved);
  }
  std::vector<std::string> come_back(RecoveredRun what, std::optional<bool> outdated = std::nullopt) {
    const RunNumber newest = what == RecoveredRun::none ? 0 : 1;
    const Recovery found{.newest_run = newest, .what = what, .before = before.get(), .outdated = outdated};
    return words(core::recover(state, found, now(), policy));
  }
  std::shared_ptr<const AppDefinition> before;
  boost::json::object saved;
};

TEST_F(EditedWhileDownTest, ADisabledFileStopsTheRun) {
  run();
  edit([](AppDefinition& d) { d.status = AppStatus::disabled; });
  EXPECT_THAT(come_back(RecoveredRun::running), ElementsAre("stop 1 grace 3"));
  EXPECT_EQ(state.status, AppStatus::disabled);
  end(-15);
  EXPECT_EQ(state.phase, Phase::idle);
}

TEST_F(EditedWhileDownTest, AnEnabledFileStartsTheApp) {
  run();
  step(event::Disabled{});
  end(-15);
  edit([](AppDefinition& d) { d.status = AppStatus::enabled; });
  EXPECT_THAT(come_back(RecoveredRun::none), ElementsAre("start 2"));
}

TEST_F(EditedWhileDownTest, AnotherCommandRestartsWhatRunsOnce) {
  run();
  edit([](AppDefinition& d) { d.command = "other"; });
  EXPECT_THAT(come_back(RecoveredRun::running, true), ElementsAre("stop 1 grace 3"));
  EXPECT_EQ(state.stop_reason, StopReason::restarted);
  EXPECT_THAT(end(-15), ElementsAre("start 2"));
}

TEST_F(EditedWhileDownTest, WhatRunsWithTheNewCommandAlreadyIsLeftAlone) {
  run();
  edit([](AppDefinition& d) { d.command = "other"; });
  EXPECT_THAT(come_back(RecoveredRun::running, false), IsEmpty());
  EXPECT_EQ(state.phase, Phase::running);
}

TEST_F(EditedWhileDownTest, WithoutAFingerprintTheLastGoodDefinitionTells) {
  run();
  edit([](AppDefinition& d) { d.env["A"] = "1"; });
  EXPECT_THAT(come_back(RecoveredRun::running), ElementsAre("stop 1 grace 3"));
}

TEST_F(EditedWhileDownTest, AFieldThatTheProcessDoesNotSeeRestartsNothing) {
  run();
  edit([](AppDefinition& d) {
    d.description = "x";
    d.permission = 11;
    d.behavior.exit = ExitAction::restart;
    d.resource_limit = ResourceLimit{.memory_mb = 100};
  });
  EXPECT_THAT(come_back(RecoveredRun::running, false), IsEmpty());
}

TEST_F(EditedWhileDownTest, AnInstanceWaitsForItsTurn) {
  run();
  edit([](AppDefinition& d) { d.command = "other"; });
  const Recovery found{
      .newest_run = 1, .what = RecoveredRun::running, .before = before.get(), .outdated = true, .rolls = true};
  EXPECT_THAT(words(core::recover(state, found, now(), policy)), IsEmpty());
}

TEST_F(EditedWhileDownTest, ARunThatEndedMeanwhileIsFollowedByTheNewCommand) {
  run();
  edit([](AppDefinition& d) { d.command = "other"; });
  EXPECT_THAT(come_back(RecoveredRun::exited, true), IsEmpty());
  EXPECT_THAT(end(0), ElementsAre("start 2")) << "standby was the answer to the end of the old command";
}

TEST_F(EditedWhileDownTest, WhatRestsIsPlannedAnewByAnotherCommand) {
  run();
  end(0);
  ASSERT_EQ(state.phase, Phase::idle);
  edit([](AppDefinition& d) { d.command = "other"; });
  EXPECT_THAT(come_back(RecoveredRun::none), ElementsAre("start 2"));
}

TEST_F(EditedWhileDownTest, AnotherScheduleIsPlannedAnew) {
  define({.start_interval = DurationText{"60", seconds(60)}, .start_time = kStart - 5});
  step(event::Defined{});
  edit([](AppDefinition& d) { d.start_interval = DurationText{"10", seconds(10)}; });
  EXPECT_THAT(come_back(RecoveredRun::none), ElementsAre("arm +5"));
}

TEST_F(EditedWhileDownTest, AnotherCommandOfARecurringAppKeepsItsPlanAndWhatItMissed) {
  define({.start_interval = DurationText{"60", seconds(60)}, .start_time = kStart - 5});
  step(event::Defined{});
  edit([](AppDefinition& d) { d.command = "other"; });
  pass(150);
  come_back(RecoveredRun::none);
  EXPECT_EQ(state.missed_starts, 2U);
}

}  // namespace
}  // namespace appmesh::core

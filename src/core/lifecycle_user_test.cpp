// What a user asks for: disable, enable, restart, another definition, removal.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- Disable, enable, restart ----

TEST_F(LifecycleTest, DisableStopsTheRunWithoutAskingThePolicy) {
  define_exit(ExitAction::keepalive);
  run();
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 3"));
  EXPECT_EQ(state.last_error().text, "not enabled");
  EXPECT_EQ(state.definition->status, AppStatus::disabled);
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "not enabled");
  EXPECT_EQ(state.return_code, -15);
}

TEST_F(LifecycleTest, RetentionIsTheGrace) {
  define({.retention = DurationText{"20", seconds(20)}});
  run();
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 20"));
}

TEST_F(LifecycleTest, DisableCancelsAPlannedStart) {
  define({.start_time = kStart + 50});
  step(event::Defined{});
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "cancel"));
}

TEST_F(LifecycleTest, EnablingOrDisablingAnAppAlreadyThereDoesNothing) {
  run();
  EXPECT_THAT(step(event::Enabled{}), IsEmpty());
  step(event::Disabled{});
  EXPECT_THAT(step(event::Disabled{}), IsEmpty());
  EXPECT_FALSE(persisted);
}

TEST_F(LifecycleTest, EnableStartsAnApp) {
  define({.status = AppStatus::disabled});
  step(event::Defined{});
  EXPECT_THAT(step(event::Enabled{}), ElementsAre("write", "STATUS", "start 1"));
}

TEST_F(LifecycleTest, AnAppEnabledWhileItStopsStartsWhenTheOldRunIsGone) {
  run();
  step(event::Disabled{});
  EXPECT_THAT(step(event::Enabled{}), ElementsAre("write", "STATUS"));
  step(event::RunExited{.run = 1, .return_code = -15});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
  step(event::RunStarted{.run = 2});
  step(event::Disabled{});
  step(event::Enabled{});
  step(event::Disabled{});
  EXPECT_THAT(end(-15), IsEmpty());
}

TEST_F(LifecycleTest, AStopAskedForWhileStartingIsDoneWhenTheRunIsThere) {
  step(event::Defined{});
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS"));
  EXPECT_THAT(step(event::RunStarted{.run = 1}), ElementsAre("START", "HEALTH", "stop 1 grace 3"));
  EXPECT_THAT(end(-15), IsEmpty());
}

TEST_F(LifecycleTest, AStartThatFailsAfterADisableIsNotRetried) {
  step(event::Defined{});
  step(event::Disabled{});
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "x"}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "not enabled");
}

TEST_F(LifecycleTest, DisabledAndEnabledWhileStartingLetsTheRunLive) {
  step(event::Defined{});
  step(event::Disabled{});
  step(event::Enabled{});
  EXPECT_THAT(step(event::RunStarted{.run = 1}), ElementsAre("START", "HEALTH"));
  EXPECT_EQ(state.phase, Phase::running);
}

TEST_F(LifecycleTest, ARestartStartsAtOnceWhenTheOldRunIsGone) {
  run();
  state.backoff_step = 5;
  EXPECT_THAT(step(event::RestartRequested{}), ElementsAre("stop 1 grace 3"));
  step(event::RunExited{.run = 1, .return_code = -15});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ARestartEndsABackOffAndWakesWhatRests) {
  define_exit(ExitAction::restart);
  run();
  end();
  step(event::RunStarted{.run = 2});
  end();
  ASSERT_EQ(state.phase, Phase::waiting);
  EXPECT_THAT(step(event::RestartRequested{}), ElementsAre("start 3", "cancel"));

  define_exit(ExitAction::standby);
  run();
  end();
  EXPECT_THAT(step(event::RestartRequested{}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ADisabledAppIsNotRestarted) {
  define({.status = AppStatus::disabled});
  step(event::Defined{});
  EXPECT_THAT(step(event::RestartRequested{}), IsEmpty());
}

// ---- Redefined ----

TEST_F(LifecycleTest, AnUnchangedDefinitionChangesNothing) {
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.register_time = 1; }), IsEmpty());
  EXPECT_FALSE(persisted);
}

TEST_F(LifecycleTest, WhatTheProcessDoesNotSeeChangesLive) {
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.description = "x"; }), IsEmpty());
  EXPECT_EQ(state.definition->description, "x");
  EXPECT_THAT(redefine([](AppDefinition& d) { d.behavior.exit = ExitAction::restart; }), IsEmpty());
  EXPECT_THAT(end(), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, WhatTheProcessSeesNeedsANewOne) {
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.command = "x"; }), ElementsAre("stop 1 grace 3"));
  step(event::RunExited{.run = 1, .return_code = -15});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ANewCommandStartsWhatRests) {
  run();
  end();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.description = "x"; }), IsEmpty());
  EXPECT_THAT(redefine([](AppDefinition& d) { d.command = "x"; }), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, AStatusInTheNewDefinitionEnablesOrDisables) {
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.status = AppStatus::disabled; }),
              ElementsAre("write", "STATUS", "stop 1 grace 3"));
  end(-15);
  EXPECT_THAT(redefine([](AppDefinition& d) { d.status = AppStatus::enabled; }),
              ElementsAre("write", "STATUS", "start 2"));
}

TEST_F(LifecycleTest, ANewEndTimeArmsItsTimerAndStopsTheRun) {
  run();
  EXPECT_THAT(redefine([](AppDefinition& d) { d.end_time = kStart + 9; }), ElementsAre("arm +9"));
  pass(9);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3"));
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "outside valid time range");
}

// ---- Removed ----

TEST_F(LifecycleTest, RemoveAnswersAtOnceAndTheRunDrainsOnItsOwn) {
  define_exit(ExitAction::restart);
  run();
  EXPECT_THAT(step(event::Removed{}), ElementsAre("stop 1 grace 3", "REMOVED", "delete"));
  EXPECT_FALSE(persisted);
  EXPECT_THAT(step(event::Removed{}), IsEmpty());
  EXPECT_THAT(step(event::RunExited{.run = 1}), ElementsAre("drain 1"));
  EXPECT_THAT(step(event::RunGone{.run = 1}), IsEmpty());
}

TEST_F(LifecycleTest, ARunThatAppearsAfterTheRemovalIsStopped) {
  step(event::Defined{});
  EXPECT_THAT(step(event::Removed{}), ElementsAre("stop 1 grace 3", "REMOVED", "delete"));
  EXPECT_THAT(step(event::RunStarted{.run = 1}), ElementsAre("stop 1 grace 3"));
}

TEST_F(LifecycleTest, RemovingAWaitingAppCancelsItsTimerFirst) {
  define({.start_time = kStart + 50});
  step(event::Defined{});
  EXPECT_THAT(step(event::Removed{}), ElementsAre("REMOVED", "cancel", "delete"));
}

// ---- Instances ----

TEST_F(LifecycleTest, ARollingChangeGivesARunThatLivesItsNewDefinitionAndLeavesTheRestartForLater) {
  define_exit(ExitAction::restart);
  run();
  AppDefinition d = *state.definition;
  d.command = "other";
  EXPECT_THAT(step(event::Redefined{.definition = std::make_shared<AppDefinition>(d), .rolls = true}), IsEmpty());
  EXPECT_EQ(state.definition->command, "other");
  EXPECT_THAT(step(event::RestartRequested{}), ElementsAre("stop 1 grace 3"));
  EXPECT_THAT(end(-15), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ARollingChangeOfWhatDoesNotRunIsAnOrdinaryOne) {
  run();
  end();
  AppDefinition d = *state.definition;
  d.command = "other";
  EXPECT_THAT(step(event::Redefined{.definition = std::make_shared<AppDefinition>(d), .rolls = true}),
              ElementsAre("start 2"));
}

TEST_F(LifecycleTest, ARemarkIsShown) {
  run();
  step(event::Remarked{"rolling restart stopped"});
  EXPECT_EQ(state.last_error().text, "rolling restart stopped");
  EXPECT_TRUE(persisted);
}

}  // namespace
}  // namespace appmesh::core

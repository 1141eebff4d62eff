// Dependencies: a test a row.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

const UnmetDependencies kDb{{"db", {.condition = DependencyCondition::ready}}};

TEST_F(LifecycleTest, AnAppWhoseTimeHasComeWaitsForWhatItDependsOnAndStartsAtThatInstant) {
  EXPECT_THAT(step(event::Defined{kDb}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::blocked);
  EXPECT_EQ(state.last_error().text, "waiting for db (ready)");
  step(event::DependenciesChanged{{{"a", {.unknown = true}}, {"db", {.condition = DependencyCondition::completed}}}});
  EXPECT_EQ(state.last_error().text, "waiting for a (no such application), db (completed)");
  EXPECT_THAT(step(event::DependenciesChanged{}), ElementsAre("start 1"));
  EXPECT_EQ(state.last_error().text, "");
}

TEST_F(LifecycleTest, WhatRunsGoesOnAndWaitsOnlyBeforeItsNextStart) {
  define_exit(ExitAction::restart);
  run();
  EXPECT_THAT(step(event::DependenciesChanged{kDb}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_THAT(end(1), IsEmpty());
  EXPECT_EQ(state.phase, Phase::blocked);
  EXPECT_EQ(state.return_code, 1);
  EXPECT_THAT(step(event::DependenciesChanged{}), ElementsAre("start 2"));
}

TEST_F(LifecycleTest, WhatWaitsCanBeDisabledRestartedAndRemoved) {
  step(event::Defined{kDb});
  step(event::RestartRequested{});
  EXPECT_EQ(state.phase, Phase::blocked);
  step(event::Disabled{});
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_THAT(step(event::DependenciesChanged{}), IsEmpty());
  step(event::DependenciesChanged{kDb});
  step(event::Enabled{});
  EXPECT_EQ(state.phase, Phase::blocked);
  EXPECT_THAT(step(event::Removed{}), ElementsAre("REMOVED", "delete"));
}

TEST_F(LifecycleTest, ADefinitionThatDependsOnNothingMoreStarts) {
  step(event::Defined{kDb});
  AppDefinition d = *state.definition;
  d.depends_on.clear();
  d.description = "x";
  EXPECT_THAT(step(event::Redefined{std::make_shared<AppDefinition>(d), {}}), ElementsAre("start 1"));
}

TEST_F(LifecycleTest, AnOccurrenceWaitsAndTheNextOneIsMissedMeanwhile) {
  define({.start_interval = DurationText{"60", seconds(60)}, .start_time = kStart});
  state.waiting_for = kDb;
  step(event::Defined{kDb});
  pass(60);
  step(event::TimerDue{});
  EXPECT_EQ(state.phase, Phase::blocked);
  EXPECT_EQ(state.missed_starts, 0U);
  pass(60);
  step(event::TimerDue{});
  EXPECT_EQ(state.missed_starts, 1U);
  EXPECT_THAT(step(event::DependenciesChanged{}), ElementsAre("start 1"));
}

TEST_F(LifecycleTest, ARunIsNotStoppedForAnOccurrenceThatCannotStart) {
  define({.start_interval = DurationText{"60", seconds(60)}, .start_time = kStart});
  step(event::Defined{});
  pass(60);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  step(event::DependenciesChanged{kDb});
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("arm +180"));
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_EQ(state.missed_starts, 1U);
}

TEST_F(LifecycleTest, AWindowThatClosedMeanwhileIsWaitedForToo) {
  define({.end_time = kStart + 50});
  step(event::Defined{kDb});
  pass(60);
  EXPECT_THAT(step(event::DependenciesChanged{}), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error().text, "outside valid time range");
}

TEST_F(LifecycleTest, WhatWaitedGoesOnWaitingWithANewDaemon) {
  step(event::Defined{kDb});
  reload(save());
  state.waiting_for = kDb;
  EXPECT_THAT(recover(0, RecoveredRun::none), IsEmpty());
  EXPECT_EQ(state.phase, Phase::blocked);
  EXPECT_THAT(step(event::DependenciesChanged{}), ElementsAre("start 1"));
}

TEST_F(LifecycleTest, AnExitThatNobodySawIsNotKnownToBeZero) {
  run();
  step(event::RunExited{.run = 1, .known = false});
  EXPECT_FALSE(state.exit_known);
  reload(save());
  EXPECT_FALSE(state.exit_known);
}

}  // namespace
}  // namespace appmesh::core

// Recurring apps: the grid, missed occurrences, replaced runs.
#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

// ---- Recurring apps ----

class RecurringTest : public LifecycleTest {
 protected:
  void define_every_minute(ExitAction action = ExitAction::standby) {
    define({.behavior = {.exit = action}, .start_interval = DurationText{"60", seconds(60)}});
  }
};

TEST_F(RecurringTest, OccurrencesLieOnTheGridWhateverTheRunsTake) {
  define_every_minute(ExitAction::restart);
  EXPECT_THAT(step(event::Defined{}), ElementsAre("arm +1"));
  pass(1);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 1", "arm +61"));
  step(event::RunStarted{.run = 1});
  pass(7);
  EXPECT_THAT(end(1), ElementsAre("arm +61"));
  EXPECT_EQ(state.phase, Phase::waiting);
  pass(53);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 2", "arm +121"));
}

TEST_F(RecurringTest, AnOccurrenceReplacesARunThatStillLives) {
  define_every_minute();
  step(event::Defined{});
  pass(1);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3"));
  step(event::RunExited{.run = 1});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("start 2", "arm +121"));
}

TEST_F(RecurringTest, KeepaliveRestartsBetweenOccurrences) {
  define_every_minute(ExitAction::keepalive);
  step(event::Defined{});
  pass(1);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  EXPECT_THAT(end(1), ElementsAre("start 2", "arm +61"));
}

TEST_F(RecurringTest, AFailedStartWaitsForTheNextOccurrence) {
  define_every_minute();
  step(event::Defined{});
  pass(1);
  step(event::TimerDue{});
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "x"}), IsEmpty());
  EXPECT_EQ(epoch_seconds(state.next_start->wall), kStart + 61);
}

TEST_F(RecurringTest, MissedOccurrencesAreCountedAndNotMadeUp) {
  define_every_minute();
  step(event::Defined{});
  pass(200);  // those at 1, 61, 121, 181
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("arm +241"));
  EXPECT_EQ(state.missed_starts, 4U);
}

TEST_F(RecurringTest, OneStartMakesUpForMissedOnesWhenAskedFor) {
  define_every_minute();
  redefine([](AppDefinition& d) { d.start_missed = true; });
  step(event::Defined{});
  pass(200);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("start 1", "arm +241"));
}

}  // namespace
}  // namespace appmesh::core

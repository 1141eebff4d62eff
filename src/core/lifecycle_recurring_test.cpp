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

// The daemon was away or the host slept. An occurrence at most ten seconds old is late and is started; older ones are
// missed, also when a late one follows.
TEST_F(RecurringTest, TheLastOccurrenceOfAnAbsenceIsStartedWhenItIsOnlyLate) {
  define_every_minute();
  step(event::Defined{});
  const auto saved = save();
  for (const auto& [absence, starts, missed] : {std::tuple(10, true, 0),
                                                {11, true, 0},
                                                {12, false, 1},
                                                {60, false, 1},
                                                {61, true, 1},
                                                {71, true, 1},
                                                {72, false, 2},
                                                {185, true, 3}}) {
    elapsed = {};
    pass(absence);
    reload(saved);
    recover(0, RecoveredRun::none);
    EXPECT_EQ(state.phase == Phase::starting, starts) << absence;
    EXPECT_EQ(state.missed_starts, static_cast<std::uint64_t>(missed)) << absence;
    EXPECT_EQ(epoch_seconds(state.next_start->wall), kStart + 1 + (absence - 1) / 60 * 60 + 60) << absence;
  }
}

TEST_F(RecurringTest, HoweverManyWereMissedAreCounted) {
  define({.start_interval = DurationText{"1", seconds(1)}});
  step(event::Defined{});
  const auto saved = save();
  pass(100'000);
  reload(saved);
  recover(0, RecoveredRun::none);
  EXPECT_EQ(state.phase, Phase::starting) << "the last one is late, not missed";
  EXPECT_EQ(state.missed_starts, 99'999U);
}

TEST_F(RecurringTest, APlanThatMovedToTheOpeningOfAWindowIsMissedOverAnAbsence) {
  define({.daily_limitation = DailyLimitation{(kStart + 1000) % 86400, (kStart + 2000) % 86400},
          .start_interval = DurationText{"60", seconds(60)}});
  step(event::Defined{});
  ASSERT_EQ(epoch_seconds(state.next_start->wall), kStart + 1000);
  const auto saved = save();
  pass(1035);
  reload(saved);
  recover(0, RecoveredRun::none);
  EXPECT_EQ(state.missed_starts, 2U) << "those at 1000 and 1021";
  EXPECT_EQ(epoch_seconds(state.next_start->wall), kStart + 1081);
}

// The definition is stamped, then written to the disk, and only then does the app exist.
TEST_F(RecurringTest, TheFirstOccurrenceIsNotLostToTheTimeThatARegistrationTakes) {
  for (const int milliseconds : {0, 1, 999, 1000, 1001, 2500, 9999}) {
    define_every_minute();
    elapsed = std::chrono::milliseconds(milliseconds);
    step(event::Defined{});
    if (milliseconds < 1000) {
      EXPECT_EQ(state.next_start->wall, WallTime(seconds(kStart + 1))) << milliseconds;
    } else {
      EXPECT_EQ(state.phase, Phase::starting) << milliseconds;
      EXPECT_EQ(state.next_start->wall, WallTime(seconds(kStart + 61))) << milliseconds;
    }
    EXPECT_EQ(state.missed_starts, 0U);
  }
  define_every_minute();
  elapsed = std::chrono::hours(1);  // an instance that is added later has no first occurrence of its own
  step(event::Defined{});
  EXPECT_EQ(state.next_start->wall, WallTime(seconds(kStart + 3601)));
}

TEST_F(RecurringTest, RetentionOfZeroIsTheOrdinaryGrace) {
  define({.retention = DurationText{"0", seconds(0)}});
  run();
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 3"));
  policy.handover = true;
  define({.retention = DurationText{"PT0S", seconds(0)}, .start_interval = DurationText{"60", seconds(60)}});
  elapsed = {};
  step(event::Defined{});
  pass(1);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  pass(60);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("stop 1 grace 3"));
}

TEST_F(RecurringTest, WhatWasMissedAfterARunThatTheSavedStateHasNotHeardOfIsCounted) {
  define_every_minute();
  step(event::Defined{});
  const auto saved = save();
  pass(1);
  step(event::TimerDue{});  // run 1, and the daemon dies before that is saved
  pass(199);
  reload(saved);
  recover(1, RecoveredRun::exited);
  step(event::RunExited{.run = 1});
  EXPECT_THAT(step(event::RunGone{.run = 1}), ElementsAre("arm +61"));
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("arm +241"));
  EXPECT_EQ(state.starts, 1U);
  EXPECT_EQ(state.missed_starts, 3U) << "those at 61, 121 and 181";
}

// ---- A policy that was changed while the daemon runs ----

class PolicyChangedTest : public LifecycleTest {
 protected:
  // kStart is 22:13:20 UTC.
  void define_daily_at_23() {
    define({.start_interval = DurationText{.text = "0 23 * * *"}, .cron = true});
    step(event::Defined{});
  }
  void move_to_zone(int hours) {
    policy.zone.utc_offset = std::chrono::hours(hours);
    changed = step(event::PolicyChanged{.zone = true});
  }
  std::int64_t planned() const { return epoch_seconds(state.next_start->wall) - kStart; }

  std::vector<std::string> changed;
};

TEST_F(PolicyChangedTest, CronIsPlannedAnewInAnotherZone) {
  define_daily_at_23();
  EXPECT_EQ(planned(), 46 * 60 + 40);
  move_to_zone(-2);
  EXPECT_EQ(planned(), 46 * 60 + 40 + 7200);
  EXPECT_THAT(changed, ElementsAre("arm +10000"));
}

TEST_F(PolicyChangedTest, ARunThatLivesGoesOnAndItsNextOccurrenceMoves) {
  define_daily_at_23();
  pass(46 * 60 + 40);
  step(event::TimerDue{});
  step(event::RunStarted{.run = 1});
  move_to_zone(-2);
  EXPECT_EQ(state.phase, Phase::running);
  EXPECT_EQ(planned(), 46 * 60 + 40 + 7200);
}

TEST_F(PolicyChangedTest, AGridDoesNotMove) {
  define({.start_interval = DurationText{"60", seconds(60)}});
  step(event::Defined{});
  move_to_zone(3);
  EXPECT_THAT(changed, IsEmpty());
  EXPECT_EQ(planned(), 1);
}

TEST_F(PolicyChangedTest, WhatIsDisabledStaysWithoutAPlan) {
  define_daily_at_23();
  step(event::Disabled{});
  move_to_zone(3);
  EXPECT_THAT(changed, IsEmpty());
  EXPECT_FALSE(state.next_start);
}

TEST_F(PolicyChangedTest, ALongerBackOffThanTheNewLimitIsCut) {
  define_exit(ExitAction::restart);
  run();
  for (int i = 0; i < 5; ++i) {  // at once, then after 1, 2, 4 and 8 s
    end(1);
    pass(100);
    step(event::TimerDue{});
    step(event::RunStarted{.run = state.current_run});
    elapsed -= seconds(99);  // or the run would be long enough to forget the past
  }
  end(1);
  ASSERT_THAT(state.last_error().text, HasSubstr("; restart in 16 s (back-off)"));
  const auto before = state.next_start->steady;
  policy.backoff_limit = seconds(60);
  EXPECT_THAT(step(event::PolicyChanged{}), IsEmpty());
  EXPECT_EQ(state.next_start->steady, before);
  policy.backoff_limit = seconds(3);
  step(event::PolicyChanged{});
  EXPECT_EQ(*state.next_start->steady, now().steady + seconds(3));
  EXPECT_THAT(state.last_error().text, HasSubstr("exited with return code: 1; restart in 3 s (back-off)"));
}

}  // namespace
}  // namespace appmesh::core

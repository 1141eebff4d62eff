// One test a row of the table in lifecycle.h: an event in a phase, the effects it has.
#include "core/lifecycle.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int64_t kStart = 1'700'000'000;

// Effects as words, so that an expectation reads like the table. PersistState follows nearly every change and is left
// out.
std::string to_word(const Effect& e) {
  struct Names {
    std::string operator()(const effect::StartRun& s) { return fmt::format("start {}", s.run); }
    std::string operator()(const effect::StopRun& s) { return fmt::format("stop {} grace {}", s.run, s.grace.count()); }
    std::string operator()(const effect::DrainRun& d) {
      return fmt::format("drain {}{}", d.run, d.leftovers == Leftovers::leave ? " leave" : "");
    }
    std::string operator()(const effect::ArmTimer& a) {
      if (a.steady) return fmt::format("arm steady {}", a.steady->time_since_epoch() / seconds(1));
      return fmt::format("arm +{}", epoch_seconds(*a.wall) - kStart);
    }
    std::string operator()(const effect::CancelTimer&) { return "cancel"; }
    std::string operator()(const effect::Publish& p) {
      return std::array{"START", "EXIT", "HEALTH", "STATUS", "REMOVED"}[static_cast<std::size_t>(p.notice)];
    }
    std::string operator()(const effect::PersistState&) { return "persist"; }
    std::string operator()(const effect::PersistDefinition&) { return "write"; }
    std::string operator()(const effect::Delete&) { return "delete"; }
  };
  return std::visit(Names{}, e);
}

class LifecycleTest : public ::testing::Test {
 protected:
  LifecycleTest() { define({}); }

  void define(AppDefinition d) {
    d.register_time = kStart;
    state = {};
    state.status = d.status;
    state.definition = std::make_shared<AppDefinition>(std::move(d));
  }
  void define_exit(ExitAction action) { define({.behavior = {.exit = action}}); }

  std::vector<std::string> words(const std::vector<Effect>& effects) {
    std::vector<std::string> out;
    persisted = false;
    for (const Effect& e : effects) {
      std::holds_alternative<effect::PersistState>(e) ? void(persisted = true) : out.push_back(to_word(e));
    }
    return out;
  }
  Now now() const { return {WallTime(seconds(kStart) + elapsed), SteadyTime(elapsed)}; }
  std::vector<std::string> step(Event event) { return words(core::step(state, event, now(), policy)); }
  std::vector<std::string> recover(RunNumber newest, RecoveredRun what) {
    return words(core::recover(state, newest, what, now(), policy));
  }
  std::vector<std::string> redefine(auto change) {
    AppDefinition d = *state.definition;
    change(d);
    return step(event::Redefined{std::make_shared<AppDefinition>(d)});
  }
  void pass(int s) { elapsed += seconds(s); }

  void run() {
    step(event::Defined{});
    step(event::RunStarted{.run = 1, .pid = 100});
    ASSERT_EQ(state.phase, Phase::running);
  }
  // From running to gone, the way of a natural exit or of the end of a stop.
  std::vector<std::string> end(int code = 0) {
    const RunNumber current = state.current_run;
    step(event::RunExited{.run = current, .return_code = code});
    return step(event::RunGone{current});
  }
  // A restart of the daemon: the state goes through its saved form.
  void reload(const boost::json::object& saved) {
    LifecycleState loaded;
    loaded.definition = state.definition;
    const auto result = load_state(loaded, saved, now());
    ASSERT_TRUE(result) << result.error().message;
    state = loaded;
  }
  boost::json::object save() const { return save_state(state, now()); }

  LifecycleState state;
  Policy policy;
  std::chrono::microseconds elapsed{0};
  bool persisted = false;
};

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
  EXPECT_EQ(state.last_error, "outside valid time range");
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
  EXPECT_EQ(state.last_error, "exited with return code: 41, msg: out of memory");
  EXPECT_EQ(state.phase, Phase::draining);
}

TEST_F(LifecycleTest, AnUnknownExitCountsAsZeroAndSaysSo) {
  run();
  step(event::RunExited{.run = 1, .return_code = 77, .known = false});
  EXPECT_EQ(state.return_code, 0);
  EXPECT_THAT(state.last_error, HasSubstr("exit status unknown"));
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
      EXPECT_EQ(state.last_error, fmt::format("exited with return code: 1; restart in {} s (back-off)", delay));
      EXPECT_EQ(state.next_start->wall, now().wall + seconds(delay));
      EXPECT_THAT(step(event::TimerDue{}), ElementsAre(fmt::format("arm steady {}", due))) << "not yet due";
      pass(delay);
      const RunNumber next = state.last_run + 1;
      EXPECT_THAT(step(event::TimerDue{}), ElementsAre(fmt::format("start {}", next)));
      EXPECT_EQ(state.last_error, "exited with return code: 1");
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
  EXPECT_THAT(end(), ElementsAre("arm +30"));
  pass(30);
  EXPECT_THAT(step(event::TimerDue{}), ElementsAre("REMOVED", "delete"));
}

// ---- Failed starts ----

TEST_F(LifecycleTest, AFailedStartIsRetriedWithTheBackOff) {
  step(event::Defined{});
  EXPECT_THAT(step(event::StartFailed{.run = 1, .reason = "exec: No such file or directory"}), ElementsAre("start 2"));
  EXPECT_THAT(step(event::StartFailed{.run = 2, .reason = "exec: No such file or directory"}),
              ElementsAre("arm steady 1"));
  EXPECT_EQ(state.last_error, "exec: No such file or directory; restart in 1 s (back-off)");
  EXPECT_EQ(state.starts, 0U);
  EXPECT_FALSE(state.return_code);
}

TEST_F(LifecycleTest, ALostKeeperFailsOnlyAStartInFlight) {
  step(event::Defined{});
  EXPECT_THAT(step(event::KeeperLost{}), ElementsAre("start 2"));
  EXPECT_EQ(state.last_error, "keeper restarted");
  step(event::RunStarted{.run = 2});
  EXPECT_THAT(step(event::KeeperLost{}), IsEmpty());
}

// ---- Disable, enable, restart ----

TEST_F(LifecycleTest, DisableStopsTheRunWithoutAskingThePolicy) {
  define_exit(ExitAction::keepalive);
  run();
  EXPECT_THAT(step(event::Disabled{}), ElementsAre("write", "STATUS", "stop 1 grace 3"));
  EXPECT_EQ(state.last_error, "not enabled");
  EXPECT_EQ(state.definition->status, AppStatus::disabled);
  EXPECT_THAT(end(-15), IsEmpty());
  EXPECT_EQ(state.phase, Phase::idle);
  EXPECT_EQ(state.last_error, "not enabled");
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
  EXPECT_EQ(state.last_error, "not enabled");
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
  EXPECT_EQ(state.last_error, "outside valid time range");
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
  EXPECT_THAT(state.last_error, HasSubstr("exit status unknown"));
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
  EXPECT_EQ(state.last_error, "not enabled");
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
  EXPECT_THAT(recover(1, RecoveredRun::none), ElementsAre("arm +30"));
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

}  // namespace
}  // namespace appmesh::core

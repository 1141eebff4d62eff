// last_error: what keeps an app from running is told while it is true and no longer; what happened stays, with its
// time.
#include <functional>

#include "core/lifecycle_fixture.h"

namespace appmesh::core {
namespace {

class ConditionTest : public LifecycleTest {
 protected:
  const std::string& told() const { return state.last_error().text; }
  // Like step(), and every promise holds afterwards.
  void happens(const Event& event) {
    step(event);
    const auto broken = check(state, now());
    EXPECT_FALSE(broken) << *broken << ", told: " << told();
  }
  void start_run() { happens(event::RunStarted{.run = state.current_run, .pid = 100}); }
  void end_run(int code) {
    const RunNumber current = state.current_run;
    happens(event::RunExited{.run = current, .return_code = code});
    happens(event::RunGone{current});
  }
  void lets_pass(int s) {
    pass(s);
    happens(event::TimerDue{});
  }
};

TEST_F(ConditionTest, NotEnabledIsToldWhileItIsDisabled) {
  happens(event::Defined{});
  start_run();
  end_run(3);
  happens(event::Disabled{});
  EXPECT_EQ(told(), "not enabled");
  happens(event::Enabled{});
  start_run();
  EXPECT_EQ(told(), "exited with return code: 3");
  EXPECT_EQ(state.last_error().time, WallTime(seconds(kStart)));
  define({.status = AppStatus::disabled});
  happens(event::Defined{});
  EXPECT_EQ(told(), "not enabled");
}

TEST_F(ConditionTest, ADisabledAppTellsThatItIsAndRemembersHowItEnded) {
  run();
  happens(event::Disabled{});
  end_run(-15);
  EXPECT_EQ(told(), "not enabled");
  EXPECT_EQ(state.history.text, "exited with return code: -15");
}

TEST_F(ConditionTest, OutsideItsRangeIsToldUntilTheWindowOpens) {
  define({.daily_limitation = DailyLimitation{kStart % 86400 - 100, kStart % 86400 + 100}});
  happens(event::Defined{});
  start_run();
  EXPECT_EQ(told(), "");
  lets_pass(100);
  end_run(-15);
  EXPECT_EQ(told(), "outside valid time range");
  lets_pass(86400 - 200);
  start_run();
  EXPECT_EQ(told(), "exited with return code: -15");
}

TEST_F(ConditionTest, AWindowThatOpensBeforeTheNextOccurrenceEndsTheWord) {
  define({.behavior = {.exit = ExitAction::standby},
          .daily_limitation = DailyLimitation{kStart % 86400 - 100, kStart % 86400 + 100},
          .start_interval = DurationText{"86400", seconds(86400)},
          .start_time = kStart});
  happens(event::Defined{});
  pass(1);
  state.next_start = PlannedStart{.wall = WallTime(seconds(kStart))};
  happens(event::TimerDue{});
  start_run();
  lets_pass(99);
  end_run(-15);
  ASSERT_EQ(told(), "outside valid time range");
  ASSERT_EQ(epoch_seconds(state.next_start->wall), kStart + 86400);
  ASSERT_EQ(epoch_seconds(*state.alarm->wall), kStart + 86400 - 100);
  lets_pass(86400 - 200);
  EXPECT_EQ(state.phase, Phase::waiting);
  EXPECT_EQ(told(), "exited with return code: -15");
}

TEST_F(ConditionTest, ARangeThatIsOpenWithNoStartLeftIsToldAsThat) {
  define(
      {.start_interval = DurationText{"3600", seconds(3600)}, .start_time = kStart - 3000, .end_time = kStart + 500});
  happens(event::Defined{});
  EXPECT_EQ(told(), "no further start before end_time");
  redefine([](AppDefinition& d) { d.end_time = kStart - 1; });
  EXPECT_EQ(told(), "outside valid time range");
}

TEST_F(ConditionTest, AFailedStartIsToldUntilOneSucceeds) {
  happens(event::Defined{});
  happens(event::StartFailed{.run = 1, .reason = "exec: no"});
  EXPECT_EQ(told(), "exec: no");
  happens(event::StartFailed{.run = 2, .reason = "exec: no"});
  EXPECT_EQ(told(), "exec: no; restart in 1 s (back-off)");
  lets_pass(1);
  EXPECT_EQ(told(), "exec: no");
  start_run();
  EXPECT_EQ(told(), "");
}

TEST_F(ConditionTest, WhatFailedByAnotherDefinitionIsNotTold) {
  happens(event::Defined{});
  happens(event::StartFailed{.run = 1, .reason = "exec: no"});
  happens(event::StartFailed{.run = 2, .reason = "exec: no"});
  redefine([](AppDefinition& d) {
    d.command = "other";
    d.start_time = kStart + 1000;
  });
  EXPECT_EQ(told(), "");
}

TEST_F(ConditionTest, WaitingForIsToldWhileItWaits) {
  define({.depends_on = {{"db", DependencyCondition::started}}});
  happens(event::Defined{{{"db", {}}}});
  EXPECT_EQ(told(), "waiting for db (started)");
  AppDefinition d = *state.definition;
  d.start_time = kStart + 50;
  happens(event::Redefined{.definition = std::make_shared<AppDefinition>(d), .waiting_for = {{"db", {}}}});
  EXPECT_EQ(told(), "");
  lets_pass(50);
  EXPECT_EQ(told(), "waiting for db (started)");
  happens(event::Remarked{"a remark"});
  EXPECT_EQ(told(), "waiting for db (started)") << "the present comes first";
  happens(event::DependenciesChanged{});
  start_run();
  EXPECT_EQ(told(), "a remark");
}

TEST_F(ConditionTest, TheConditionSurvivesARestartOfTheDaemon) {
  happens(event::Defined{});
  happens(event::StartFailed{.run = 1, .reason = "exec: no"});
  happens(event::StartFailed{.run = 2, .reason = "exec: no"});
  const Message before = state.last_error();
  reload(save());
  EXPECT_EQ(state.last_error(), before);
  recover(0, RecoveredRun::none);
  EXPECT_EQ(state.last_error(), before);
  recover(2, RecoveredRun::running);  // it had been started after all
  EXPECT_EQ(told(), "");
  EXPECT_FALSE(check(state, now()));
}

// Every way to be told something, and after it any two events, half of them later: whatever is told then is true.
TEST_F(ConditionTest, WhateverHappensNoWordOutlivesItsTruth) {
  const AppDefinition windowed{.daily_limitation = DailyLimitation{kStart % 86400 - 100, kStart % 86400 + 100}};
  const AppDefinition recurring{.start_interval = DurationText{"60", seconds(60)}};
  const AppDefinition restarting{.behavior = {.exit = ExitAction::restart}};
  const AppDefinition dependent{.depends_on = {{"db", DependencyCondition::started}}};
  using Situation = std::pair<std::string, std::function<void()>>;
  const std::vector<Situation> situations = {
      {"running", [&] { define(restarting), step(event::Defined{}), start_run(); }},
      {"disabled", [&] { define(restarting), step(event::Defined{}), start_run(), step(event::Disabled{}); }},
      {"defined disabled", [&] { define({.status = AppStatus::disabled}), step(event::Defined{}); }},
      {"closed", [&] { define(windowed), step(event::Defined{}), start_run(), lets_pass(100), end_run(-15); }},
      {"not open yet", [&] { define({.start_time = kStart + 30}), step(event::Defined{}); }},
      {"over", [&] { define({.end_time = kStart - 5}), step(event::Defined{}); }},
      {"failed once", [&] { define(restarting), step(event::Defined{}), step(event::StartFailed{1, "no"}); }},
      {"failed twice",
       [&] {
         define(restarting), step(event::Defined{});
         step(event::StartFailed{1, "no"}), step(event::StartFailed{2, "no"});
       }},
      {"recurring, failed",
       [&] { define(recurring), step(event::Defined{}), lets_pass(1), step(event::StartFailed{1, "no"}); }},
      {"recurring, running", [&] { define(recurring), step(event::Defined{}), lets_pass(1), start_run(); }},
      {"blocked", [&] { define(dependent), step(event::Defined{{{"db", {}}}}); }},
      {"backs off",
       [&] { define(restarting), step(event::Defined{}), start_run(), end_run(1), start_run(), end_run(1); }},
      {"lost its keeper", [&] { define(restarting), step(event::Defined{}), step(event::KeeperLost{}); }},
  };
  const auto redefined = [&](auto change) {
    auto d = std::make_shared<AppDefinition>(*state.definition);
    change(*d);
    return event::Redefined{.definition = d, .waiting_for = state.waiting_for};
  };
  const std::vector<std::function<Event()>> events = {
      [] { return event::Enabled{}; },
      [] { return event::Disabled{}; },
      [] { return event::RestartRequested{}; },
      [] { return event::TimerDue{}; },
      [&] { return pass(40), event::TimerDue{}; },
      [&] { return pass(86000), event::TimerDue{}; },
      [&] { return wall_shift -= seconds(3600), event::TimerDue{}; },
      [&] { return event::RunStarted{.run = state.current_run}; },
      [&] { return event::StartFailed{state.current_run, "again"}; },
      [&] { return event::RunExited{.run = state.current_run, .return_code = 1}; },
      [&] { return event::RunGone{state.current_run}; },
      [&] { return event::RunExited{.run = state.outgoing_run, .return_code = 1}; },
      [&] { return event::DependenciesChanged{}; },
      [&] { return event::DependenciesChanged{{{"db", {.unknown = true}}}}; },
      [] { return event::KeeperLost{}; },
      [&] { return event::HealthChanged{true}; },
      [] { return event::Remarked{"a remark"}; },
      [] { return event::PolicyChanged{.zone = true}; },
      [&] { return redefined([](AppDefinition& d) { d.command += "x"; }); },
      [&] { return redefined([](AppDefinition& d) { d.start_time = kStart + 20; }); },
      [&] { return redefined([](AppDefinition& d) { d.end_time = kStart + 20; }); },
      [&] { return redefined([](AppDefinition& d) { d.daily_limitation.reset(); }); },
      [&] { return redefined([](AppDefinition& d) { d.start_interval = DurationText{"9", seconds(9)}; }); },
      [&] { return redefined([](AppDefinition& d) { d.start_interval.reset(); }); },
      [&] { return redefined([](AppDefinition& d) { d.status = AppStatus::disabled; }); },
      [&] { return redefined([](AppDefinition& d) { d.status = AppStatus::enabled; }); },
      [] { return event::Removed{}; },
  };
  for (const auto& [name, arrange] : situations) {
    for (std::size_t first = 0; first < events.size(); ++first) {
      for (std::size_t second = 0; second < events.size(); ++second) {
        SCOPED_TRACE(fmt::format("{}, then event {} and event {}", name, first, second));
        elapsed = wall_shift = {};
        arrange();
        happens(events[first]());
        happens(events[second]());
        if (state.phase == Phase::removed) continue;
        reload(save());
        recover(state.current_run, RecoveredRun::none);
        const auto broken = check(state, now());
        ASSERT_FALSE(broken) << "recovered: " << *broken << ", told: " << told();
      }
    }
  }
}

}  // namespace
}  // namespace appmesh::core

// What the tests of the lifecycle share: effects written as words, and one app on a clock that the test moves. One test
// a row of the table in lifecycle.h. Single-threaded.
#pragma once

#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/lifecycle.h"

namespace appmesh::core {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using ::testing::HasSubstr;
using ::testing::IsEmpty;

inline constexpr std::int64_t kStart = 1'700'000'000;

// Effects as words, so that an expectation reads like the table. PersistState follows nearly every change and is left
// out.
inline std::string to_word(const Effect& e) {
  struct Names {
    std::string operator()(const effect::StartRun& s) { return fmt::format("start {}", s.run); }
    std::string operator()(const effect::StopRun& s) {
      return fmt::format("stop {} grace {}{}", s.run, s.grace.count(), s.abort ? " abort" : "");
    }
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
  Now now() const { return {WallTime(seconds(kStart) + elapsed + wall_shift), SteadyTime(elapsed)}; }
  std::vector<std::string> step(Event event) { return words(core::step(state, event, now(), policy)); }
  std::vector<std::string> recover(RunNumber newest, RecoveredRun what, std::vector<OtherRun> others = {}) {
    return words(core::recover(state, newest, what, others, now(), policy));
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
  std::chrono::microseconds wall_shift{0};  // a clock that was set
  bool persisted = false;
};

}  // namespace appmesh::core

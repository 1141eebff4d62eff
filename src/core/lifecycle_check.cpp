// What is true of every state between two steps, said once: for builds with assertions, the unit tests and the
// simulation.
#include "core/lifecycle.h"
#include "core/schedule.h"

namespace appmesh::core {

namespace {

struct Promise {
  bool kept;
  std::string_view text;
};

std::optional<std::string_view> broken(std::initializer_list<Promise> promises) {
  for (const Promise& promise : promises)
    if (!promise.kept) return promise.text;
  return std::nullopt;
}

bool implies(bool a, bool b) {
  return !a || b;
}

std::optional<std::string_view> check_runs(const LifecycleState& s) {
  const bool live = s.phase >= Phase::starting && s.phase <= Phase::draining;
  const bool speaks = s.phase == Phase::running || s.phase == Phase::stopping;
  return broken({
      {live == (s.current_run != 0), "a run number belongs to the phases that have a run"},
      {s.current_run <= s.last_run && s.outgoing_run <= s.last_run, "no run has a number that was not given out"},
      {implies(s.outgoing_run != 0, s.outgoing_run != s.current_run), "the outgoing run is not the current one"},
      {implies(s.outgoing_run == 0, !s.outgoing_until && !s.outgoing_exited), "only an outgoing run has a deadline"},
      {implies(s.phase == Phase::stopping, s.stop_reason != StopReason::none), "a stop has a reason"},
      {speaks || (!s.ready && !s.ready_by), "only a run that lives is ready, or late"},
      {!s.ready || !s.ready_by, "what is ready is not waited for"},
  });
}

std::optional<std::string_view> check_plan(const LifecycleState& s) {
  const bool disabled = !s.on_demand && s.status != AppStatus::enabled;
  return broken({
      {implies(s.phase == Phase::waiting, s.next_start && s.alarm), "what waits has a plan and a timer"},
      {!(s.phase == Phase::waiting && s.alarm && s.alarm->wall && s.next_start && !s.next_start->steady) ||
           *s.alarm->wall <= s.next_start->wall,
       "the timer is not later than the plan"},
      {implies(s.phase == Phase::idle, !s.next_start), "what rests has no plan"},
      {implies(s.dormant, s.phase == Phase::idle), "only what rests is dormant"},
      {implies(s.phase == Phase::blocked, !s.waiting_for.empty() && !s.on_demand),
       "what is blocked waits for something"},
      {implies(disabled, s.phase != Phase::running && s.phase != Phase::waiting && s.phase != Phase::blocked),
       "nothing runs or waits while disabled"},
      {implies(disabled, !s.outgoing_until), "no outgoing run may stay while disabled"},
  });
}

std::optional<std::string_view> check_condition(const LifecycleState& s, Now now) {
  const auto is = [&](Condition condition) { return s.condition == condition; };
  const bool disabled = !s.on_demand && s.status != AppStatus::enabled;
  const bool backs_off = s.phase == Phase::waiting && s.next_start && s.next_start->steady;
  const bool rests = s.phase == Phase::idle || s.phase == Phase::waiting;
  return broken({
      {is(Condition::none) == s.condition_message.text.empty(), "a condition has a text"},
      {is(Condition::not_enabled) == disabled, "'not enabled' is said of what is disabled"},
      {implies(s.phase == Phase::running, is(Condition::none)), "nothing keeps from running what runs"},
      {implies(is(Condition::closed), rests && next_opening(*s.definition, now.wall) != now.wall),
       "'outside valid time range' is said while a window is closed"},
      {implies(is(Condition::no_start_ahead), s.dormant), "only what is dormant has no start ahead"},
      {implies(is(Condition::start_failed), rests || s.phase == Phase::starting),
       "a failed start is told until one succeeds"},
      {is(Condition::waiting_for) == (s.phase == Phase::blocked), "'waiting for' is said of what is blocked"},
      {(s.condition_message.text.find("(back-off)") != std::string::npos) == backs_off,
       "a back-off is told while it lasts"},
  });
}

}  // namespace

std::optional<std::string_view> check(const LifecycleState& state, Now now) {
  if (state.phase == Phase::removed) return std::nullopt;
  if (const auto promise = check_runs(state)) return promise;
  if (const auto promise = check_plan(state)) return promise;
  return check_condition(state, now);
}

}  // namespace appmesh::core

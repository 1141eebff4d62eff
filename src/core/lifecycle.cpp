// Past 500 lines: the table of all events, to be read on one page; what concerns one topic is in lifecycle_*.cpp.
#include "core/lifecycle.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "core/lifecycle_decider.h"
#include "core/schedule.h"

namespace appmesh::core {

namespace {

// An occurrence that is noticed later than this was missed: the daemon was away, or the clock jumped.
constexpr Seconds kLateness{10};
constexpr std::chrono::microseconds kTick{1};

}  // namespace

std::vector<Effect> step(LifecycleState& state, const Event& event, Now now, const Policy& policy) {
  Decider decider(state, now, policy);
  std::visit([&](const auto& what) { decider.on(what); }, event);
  auto effects = decider.finish();
  assert(!check(state, now));
  return effects;
}

Decider::Decider(LifecycleState& state, Now now, const Policy& policy) : s_(state), now_(now), policy_(policy) {}

std::vector<Effect> Decider::finish() {
  review_condition();
  if (persist_ && s_.phase != Phase::removed) emit(effect::PersistState{});
  const auto wanted = wanted_alarm();
  if (const auto armed = std::exchange(s_.alarm, wanted); armed != wanted || (rearm_ && armed)) {
    wanted ? emit(effect::ArmTimer{.wall = wanted->wall, .steady = wanted->steady}) : emit(effect::CancelTimer{});
  }
  if (deleted_) emit(effect::Delete{});  // last: nothing may be asked of an app that is forgotten
  return std::move(effects_);
}

// ---- The table ----

void Decider::on(const event::Defined& defined) {
  s_.waiting_for = defined.waiting_for;
  if (is_enabled()) plan_first();
  persist();
}

void Decider::on(const event::Redefined& redefined) {
  if (s_.phase == Phase::removed || same_definition(definition(), *redefined.definition)) return;
  const auto before = std::exchange(s_.definition, redefined.definition);
  s_.waiting_for = redefined.waiting_for;
  persist();
  if (s_.on_demand) return;
  if (s_.status != definition().status)
    return definition().status == AppStatus::enabled ? on(event::Enabled{}) : on(event::Disabled{});
  review_readiness();
  if (!is_enabled()) return;
  const bool needs_new_run = needs_restart(*before, definition()) && !(redefined.rolls && is_live());
  if (needs_new_run) {
    if (is_live()) return stop(StopReason::restarted);
    if (!wait_for_outgoing(StopReason::restarted)) return plan_anew();
    s_.next_start.reset();
    s_.restart_after_stop = true;
  } else if (schedule_differs(*before, definition())) {
    if (!is_live()) return plan_anew();
    s_.next_start.reset();
    s_.start_is_due = s_.start_is_due && is_recurring(definition());
    plan_next_occurrence();
  } else {
    review_dependencies();
  }
}

void Decider::on(const event::Enabled&) {
  if (s_.status != AppStatus::disabled || s_.phase == Phase::removed) return;
  set_status(AppStatus::enabled);
  s_.remove_at.reset();
  if (s_.phase == Phase::starting) {
    s_.stop_reason = StopReason::none;  // nobody stopped it yet
  } else if (is_live()) {
    s_.restart_after_stop = true;
  } else {
    plan_anew();
  }
}

void Decider::on(const event::Disabled&) {
  if (s_.status != AppStatus::enabled || s_.phase == Phase::removed) return;
  set_status(AppStatus::disabled);
  s_.next_start.reset();
  s_.restart_after_stop = false;
  if (is_live()) {
    stop(StopReason::disabled);
  } else if (!wait_for_outgoing(StopReason::disabled)) {
    rest();
  }
}

void Decider::on(const event::Removed&) {
  if (s_.phase != Phase::removed) remove();
}

void Decider::on(const event::RestartRequested&) {
  if (s_.status != AppStatus::enabled || s_.on_demand || s_.phase == Phase::removed) return;
  s_.backoff_step = 0;
  s_.remove_at.reset();
  persist();
  if (s_.phase == Phase::starting) return stop_outgoing(StopReason::restarted, grace());  // it is as fresh as it gets
  if (is_live()) return stop(StopReason::restarted);
  if (!wait_for_outgoing(StopReason::restarted)) resume();
}

void Decider::on(const event::TimerDue&) {
  // It may also come because the clock was set, with the timer still armed or just used up: then set it again.
  if (s_.alarm && is_due({.wall = s_.alarm->wall.value_or(now_.wall), .steady = s_.alarm->steady})) {
    s_.alarm.reset();
  } else {
    rearm_ = true;
  }
  if (s_.phase == Phase::removed) return;
  const auto removal = s_.on_demand && s_.on_demand->remove_at ? s_.on_demand->remove_at : s_.remove_at;
  if (removal && now_.steady >= *removal) return remove();
  review_outgoing();
  if (is_live() && s_.stop_reason == StopReason::none && s_.phase != Phase::draining) {
    if (s_.on_demand && s_.on_demand->kill_at && now_.steady >= *s_.on_demand->kill_at)
      return stop(StopReason::timeout);
    const auto close = s_.on_demand ? std::nullopt : window_close(definition(), now_.wall);
    if (close && now_.wall >= *close) return stop(StopReason::window);
    if (s_.phase == Phase::running && is_late_to_be_ready()) return stop(StopReason::not_ready);
  }
  review_plan();
}

void Decider::on(const event::RunStarted& started) {
  if (started.run != s_.current_run) return;
  if (s_.phase == Phase::removed) return stop_run_now();
  if (s_.phase != Phase::starting) return;
  mark_started();
  publish(Notice::start);
  set_healthy(definition().health_check_cmd.empty());
  if (s_.stop_reason != StopReason::none) {
    s_.phase = Phase::stopping;
    stop_run_now();
  }
}

void Decider::on(const event::StartFailed& failed) {
  if (failed.run != s_.current_run) return;
  if (s_.phase == Phase::removed) s_.current_run = 0;
  if (s_.phase != Phase::starting) return;
  s_.current_run = 0;
  rest();
  set_healthy(false);
  set_condition(Condition::start_failed, failed.reason);
  const bool asked_to_stop = s_.stop_reason != StopReason::none || s_.restart_after_stop;
  if (asked_to_stop || s_.on_demand) return after_run();
  is_recurring(definition()) ? wait_for_occurrence() : back_off();
}

void Decider::on(const event::RunExited& exited) {
  if (exited.run != 0 && exited.run == s_.outgoing_run) return outgoing_exited(exited);
  if (exited.run != s_.current_run) return;
  if (s_.phase == Phase::removed) return drain();
  if (!is_live() || s_.phase == Phase::draining) return;
  if (s_.phase == Phase::starting) on(event::RunStarted{.run = exited.run});
  record_exit(exited);
  drain();
}

void Decider::on(const event::RunGone& gone) {
  if (gone.run != 0 && gone.run == s_.outgoing_run) return outgoing_gone();
  if (gone.run != s_.current_run) return;
  if (s_.phase == Phase::removed) s_.current_run = 0;
  if (s_.phase == Phase::draining) after_run();
}

void Decider::on(const event::HealthChanged& changed) {
  if (s_.phase != Phase::running && s_.phase != Phase::stopping) return;
  set_healthy(changed.healthy);
  review_readiness();
}

void Decider::on(const event::KeeperLost&) {
  if (s_.phase == Phase::starting) on(event::StartFailed{.run = s_.current_run, .reason = "keeper restarted"});
}

// A run that lives goes on. A wait that is longer than the new limit is cut, and cron is read anew from now on: an
// occurrence of the old zone that has not come is none.
void Decider::on(const event::PolicyChanged& changed) {
  if (!is_enabled() || s_.on_demand || s_.phase == Phase::removed) return;
  if (s_.phase == Phase::waiting && s_.next_start && s_.next_start->steady) {
    const auto left = *s_.next_start->steady - now_.steady;
    if (left > policy_.backoff_limit) wait_for_backoff(policy_.backoff_limit);
    return;
  }
  if (!changed.zone || !definition().cron) return;
  if (s_.phase == Phase::waiting || s_.dormant) return plan();
  if (!is_live()) return;
  s_.next_start.reset();
  plan_next_occurrence();
  persist();
}

// ---- What follows when no run lives ----

// Its first occurrence may have come due while its definition was written: it was registered in time.
void Decider::plan_first() {
  const auto registered = WallTime(Seconds(definition().register_time));
  const bool just_now = registered <= now_.wall && now_.wall - registered <= kLateness;
  if (s_.on_demand || !is_recurring(definition()) || !just_now) return plan_anew();
  wait_until(next_occurrence(definition(), registered, policy_.zone));
}

void Decider::plan_anew() {
  clear_condition();
  s_.backoff_step = 0;
  s_.remove_at.reset();
  s_.next_start.reset();
  s_.start_is_due = false;
  plan();
}

void Decider::plan() {
  if (s_.on_demand) return start();
  wait_until(next_due(definition(), now_.wall, policy_.zone));
}

// A clock that was set may have opened a window. Planned occurrences stay, or they would double.
void Decider::review_plan() {
  if (s_.phase == Phase::idle && s_.dormant && is_enabled()) return plan();
  if (!heeds_next_start()) return;
  if (s_.phase == Phase::waiting && !s_.next_start->steady && !is_recurring(definition())) return plan();
  if (is_due(*s_.next_start)) next_start_due();
}

// The next occurrence was planned when the run was started, and may have come due while it was ending.
void Decider::wait_for_occurrence() {
  if (!s_.next_start || s_.next_start->steady) return plan();
  s_.phase = Phase::waiting;
  persist();
}

void Decider::resume() {
  wait_until(next_opening(definition(), now_.wall));
}

void Decider::wait_until(std::optional<WallTime> due) {
  persist();
  if (due && *due <= now_.wall) return start();
  s_.next_start.reset();
  if (due) s_.next_start = PlannedStart{.wall = *due};
  s_.phase = due ? Phase::waiting : Phase::idle;
  s_.dormant = !due;
  if (s_.dormant) tell_no_start();
}

void Decider::start() {
  if (!s_.on_demand && !s_.waiting_for.empty()) return block();
  s_.current_run = ++s_.last_run;
  s_.phase = Phase::starting;
  s_.stop_reason = StopReason::none;
  s_.restart_after_stop = false;
  s_.start_is_due = false;
  s_.run_return_code.reset();
  forget_readiness();
  s_.dormant = false;
  if (s_.on_demand && s_.on_demand->timeout.count() > 0) s_.on_demand->kill_at = now_.steady + s_.on_demand->timeout;
  plan_next_occurrence();
  emit(effect::StartRun{s_.current_run});
  persist();
}

// A planned occurrence that is still ahead stays; one that has just come due is never planned twice, even when the wall
// clock was set back since.
void Decider::plan_next_occurrence() {
  const auto planned = std::exchange(s_.next_start, std::nullopt);
  if (s_.on_demand || !is_recurring(definition())) return;
  if (planned && !planned->steady && !is_due(*planned)) {
    s_.next_start = planned;
    return;
  }
  if (const auto next = next_occurrence(definition(), now_.wall, policy_.zone))
    s_.next_start = PlannedStart{.wall = *next};
}

Seconds Decider::next_backoff() {
  const std::uint32_t step = s_.backoff_step;
  Seconds delay{0};
  if (step > 0) delay = std::min(policy_.backoff_limit, Seconds{std::int64_t{1} << std::min(step - 1, 30U)});
  if (delay < policy_.backoff_limit) ++s_.backoff_step;
  return delay;
}

void Decider::back_off() {
  const Seconds delay = next_backoff();
  if (delay.count() == 0) return resume();
  const WallTime until = now_.wall + delay;
  s_.phase = Phase::waiting;
  plan_next_occurrence();
  if (s_.next_start && s_.next_start->wall <= until) return persist();  // the next occurrence comes first
  wait_for_backoff(delay);
}

void Decider::wait_for_backoff(Seconds delay) {
  s_.next_start = PlannedStart{.wall = now_.wall + delay, .steady = now_.steady + delay};
  tell_back_off(delay);
}

void Decider::rest() {
  s_.phase = Phase::idle;
  s_.dormant = false;
}

void Decider::rest_disabled() {
  rest();
  s_.next_start.reset();
}

void Decider::after_run() {
  if (s_.stop_reason != StopReason::none && wait_for_outgoing(s_.stop_reason)) return;
  const StopReason reason = std::exchange(s_.stop_reason, StopReason::none);
  const bool again = std::exchange(s_.restart_after_stop, false);
  s_.current_run = 0;
  rest();
  persist();
  if (s_.on_demand) return;
  if (!is_enabled()) return rest_disabled();
  switch (reason) {
    case StopReason::restarted:
      if (again) return plan_anew();  // it was not running when its definition changed
      s_.backoff_step = 0;
      return resume();
    case StopReason::replaced:
      return resume();
    case StopReason::window:
      plan();
      return tell_no_start();
    case StopReason::disabled:
      return plan_anew();  // enabled again while it was stopping
    case StopReason::none:
    case StopReason::unhealthy:
    case StopReason::timeout:
    case StopReason::removed:
    case StopReason::not_ready:
    case StopReason::watchdog:
      return again ? plan_anew() : apply_exit_policy();
  }
}

void Decider::apply_exit_policy() {
  const Behavior& behavior = definition().behavior;
  const auto special = behavior.control.find(s_.run_return_code.value_or(s_.return_code.value_or(0)));
  const ExitAction action = special == behavior.control.end() ? behavior.exit : special->second;
  if (action != ExitAction::remove && std::exchange(s_.start_is_due, false)) return resume();
  switch (action) {
    case ExitAction::standby:
      return is_recurring(definition()) ? wait_for_occurrence() : rest();
    case ExitAction::restart:
      return is_recurring(definition()) ? wait_for_occurrence() : back_off();
    case ExitAction::keepalive:
      return back_off();
    case ExitAction::remove:
      s_.next_start.reset();
      if (!definition().retention || definition().retention->value.count() == 0) return remove();
      s_.remove_at = now_.steady + definition().retention->value;
      return rest();
  }
}

void Decider::remove() {
  if (is_live() && s_.phase != Phase::draining) {
    s_.stop_reason = StopReason::removed;
    stop_run_now();
  }
  stop_outgoing(StopReason::removed, grace());
  s_.phase = Phase::removed;
  s_.next_start.reset();
  s_.remove_at.reset();
  publish(Notice::removed);
  deleted_ = true;
}

// ---- A run ----

bool Decider::is_live() const {
  return s_.phase == Phase::starting || s_.phase == Phase::running || s_.phase == Phase::stopping ||
         s_.phase == Phase::draining;
}

// The reason that is left when the run is gone decides what follows, so a later request replaces an earlier one.
void Decider::stop(StopReason reason) {
  s_.stop_reason = reason;
  s_.restart_after_stop = false;
  s_.start_is_due = false;
  stop_outgoing(reason, grace());
  persist();
  if (s_.phase != Phase::running) return;  // starting: RunStarted stops it
  s_.phase = Phase::stopping;
  stop_run_now();
}

void Decider::stop_run_now() {
  const StopReason reason = s_.phase == Phase::removed ? StopReason::removed : s_.stop_reason;
  s_.ready_by.reset();
  emit(effect::StopRun{
      .run = s_.current_run, .grace = grace(), .reason = reason, .abort = reason == StopReason::watchdog});
}

Seconds Decider::grace() const {
  const auto& retention = definition().retention;
  return retention && retention->value.count() > 0 ? retention->value : policy_.stop_grace;
}

void Decider::mark_started() {
  s_.phase = Phase::running;
  ++s_.starts;
  s_.run_started_wall = now_.wall;
  s_.run_started_steady = now_.steady;
  s_.last_start = now_.wall;
  await_readiness();
  persist();
}

void Decider::record_exit(const event::RunExited& exited) {
  event::RunExited told = exited;
  if (const std::string note = stop_note(); !note.empty())
    told.note = told.note.empty() ? note : note + "; " + told.note;
  note_exit(told);
  forget_readiness();
  s_.run_return_code = s_.return_code;
  const auto ago = now_.wall - *s_.last_exit;
  if (now_.steady - s_.run_started_steady - ago >= policy_.stable_after) s_.backoff_step = 0;
  set_healthy(false);
}

void Decider::note_exit(const event::RunExited& exited) {
  s_.return_code = exited.known ? exited.return_code : 0;
  s_.exit_known = exited.known;
  s_.last_exit = std::min(exited.at.value_or(now_.wall), now_.wall);
  std::string error = fmt::format("exited with return code: {}", *s_.return_code);
  std::string_view separator = ", msg: ";
  for (const std::string_view text : {std::string_view(exited.known ? "" : "exit status unknown"), {exited.note}}) {
    if (text.empty()) continue;
    error.append(separator).append(text);
    separator = "; ";
  }
  note(std::move(error));
  publish(Notice::exit, exited.run);
}

void Decider::drain() {
  if (s_.phase != Phase::removed) s_.phase = Phase::draining;
  emit(effect::DrainRun{.run = s_.current_run, .grace = grace(), .leftovers = definition().behavior.leftovers});
  persist();
}

void Decider::next_start_due() {
  if (s_.next_start->steady || !is_recurring(definition())) return resume();
  const WallTime planned = s_.next_start->wall;
  const auto since_planned = occurrences_between(definition(), planned, now_.wall, policy_.zone);
  const auto until_late = occurrences_between(definition(), planned, now_.wall - kLateness - kTick, policy_.zone);
  // The last one may be late rather than missed; those before it are missed in any case.
  const bool missed = now_.wall - planned > kLateness && since_planned == until_late;
  s_.missed_starts += since_planned + (missed ? 1 : 0);
  persist();
  const bool skip = missed && !definition().start_missed;
  if (s_.phase == Phase::waiting) return skip ? plan() : resume();
  plan_next_occurrence();
  if (skip || s_.phase == Phase::starting) return;
  if (s_.phase == Phase::running && s_.waiting_for.empty()) return replace_run();
  if (!missed) ++s_.missed_starts;  // an earlier one still waits, or a run would be stopped for one that cannot start
}

// ---- Fields that are always changed together ----

void Decider::set_status(AppStatus status) {
  s_.status = status;
  if (definition().status != status) {
    auto changed = std::make_shared<AppDefinition>(definition());
    changed->status = status;
    s_.definition = std::move(changed);
  }
  emit(effect::PersistDefinition{});
  publish(Notice::status);
  persist();
}

void Decider::set_healthy(bool healthy) {
  if (std::exchange(s_.healthy, healthy) != healthy) publish(Notice::health);
}

// ---- The timer ----

// A start that comes due while the old run is ending waits for its end.
bool Decider::heeds_next_start() const {
  return s_.next_start && s_.phase != Phase::stopping && s_.phase != Phase::draining;
}

bool Decider::is_due(const PlannedStart& planned) const {
  return planned.steady ? now_.steady >= *planned.steady : now_.wall >= planned.wall;
}

// The earliest instant at which TimerDue has something to do.
std::optional<Alarm> Decider::wanted_alarm() const {
  std::optional<Alarm> earliest;
  const auto offer = [&](const Alarm& candidate) {
    // A steady instant is compared as the wall time that it has by now's reckoning.
    const auto wall = [&](const Alarm& a) {
      return a.wall.value_or(now_.wall + (a.steady.value_or(now_.steady) - now_.steady));
    };
    if (!earliest || wall(candidate) < wall(*earliest)) earliest = candidate;
  };
  const auto offer_wall = [&](WallTime at) { offer({.wall = at}); };
  if (s_.phase == Phase::removed) return earliest;
  if (heeds_next_start())
    s_.next_start->steady ? offer({.steady = s_.next_start->steady}) : offer_wall(s_.next_start->wall);
  if (s_.condition == Condition::closed) {
    if (const auto opening = next_opening(definition(), now_.wall)) offer_wall(*opening);
  }
  if (s_.remove_at) offer({.steady = s_.remove_at});
  if (s_.outgoing_until) {
    offer({.steady = s_.outgoing_until});
    if (const auto close = window_close(definition(), now_.wall)) offer_wall(*close);
  }
  if (s_.on_demand && s_.on_demand->remove_at) offer({.steady = s_.on_demand->remove_at});
  if (!is_live() || s_.phase == Phase::draining || s_.stop_reason != StopReason::none) return earliest;
  if (s_.ready_by && s_.phase == Phase::running) offer({.steady = s_.ready_by});
  if (s_.on_demand) {
    if (s_.on_demand->kill_at) offer({.steady = s_.on_demand->kill_at});
  } else if (const auto close = window_close(definition(), now_.wall)) {
    offer_wall(*close);
  }
  return earliest;
}

}  // namespace appmesh::core

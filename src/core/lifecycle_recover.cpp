// What a daemon that comes back makes of a saved state that may be older than what the keeper knows. Two rules keep it
// safe: a living run is always taken over, whatever the state says, and a run whose end nobody saw is drained before
// anything new starts.
#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "core/lifecycle_decider.h"
#include "core/schedule.h"

namespace appmesh::core {

namespace {

constexpr Seconds kHearingTime{3};

const OtherRun* find(const std::vector<OtherRun>& runs, RunNumber number) {
  const auto found = std::ranges::find(runs, number, &OtherRun::run);
  return number == 0 || found == runs.end() ? nullptr : &*found;
}

// Of the runs older than one that the state has not heard of: the one that was handed over, if any. What lives comes
// first, since there is one at most; without a handover what has exited did so before the newer run was started.
const OtherRun* left_over(const std::vector<OtherRun>& runs, bool hands_over) {
  const OtherRun* best = nullptr;
  const auto lives = [](const OtherRun& run) { return run.what == RecoveredRun::running; };
  for (const OtherRun& run : runs) {
    if (!lives(run) && !hands_over) continue;
    if (best == nullptr || std::pair(lives(run), run.run) > std::pair(lives(*best), best->run)) best = &run;
  }
  return best;
}

}  // namespace

std::vector<Effect> recover(LifecycleState& state, RunNumber newest_run, RecoveredRun what, Now now,
                            const Policy& policy) {
  return recover(state, newest_run, what, {}, now, policy);
}

std::vector<Effect> recover(LifecycleState& state, RunNumber newest_run, RecoveredRun what,
                            std::span<const OtherRun> others, Now now, const Policy& policy) {
  return recover(state, Recovery{.newest_run = newest_run, .what = what, .others = others}, now, policy);
}

std::vector<Effect> recover(LifecycleState& state, const Recovery& found, Now now, const Policy& policy) {
  Decider decider(state, now, policy);
  decider.recover(found);
  auto effects = decider.finish();
  assert(!check(state, now));
  return effects;
}

void Decider::recover(const Recovery& found) {
  if (s_.phase == Phase::removed) return;
  recover_runs(found.newest_run, found.what, found.others);
  take_over_definition(found);
}

void Decider::recover_runs(RunNumber newest_run, RecoveredRun what, std::span<const OtherRun> others) {
  s_.alarm.reset();  // whatever was armed, ArmTimer replaces it
  persist();
  take_over_status();
  drop_foreign_plan();
  std::vector<OtherRun> older(others.begin(), others.end());
  if (newest_run > s_.last_run) {
    const auto* left = left_over(older, hands_over());
    catch_up(newest_run);
    if (left != nullptr && left->run != s_.outgoing_run) {
      s_.outgoing_run = left->run;
      s_.outgoing_exited = false;
      s_.outgoing_until.reset();
      if (is_enabled() && hands_over()) s_.outgoing_until = now_.steady + definition().retention->value;
    }
  } else if (const auto* current = find(older, s_.current_run); current != nullptr) {
    // The newest run has come to its end before the one that was handed over to it.
    newest_run = current->run;
    what = current->what;
  } else if (newest_run != 0 && newest_run == s_.outgoing_run) {
    older.push_back({newest_run, what});
    newest_run = 0;
    if (what != RecoveredRun::lost) what = RecoveredRun::none;
  }
  recover_outgoing(older, what == RecoveredRun::lost);
  if (what == RecoveredRun::running) return recover_living(newest_run);
  if (what == RecoveredRun::exited && s_.current_run != 0 && newest_run == s_.current_run) {
    if (s_.phase == Phase::starting) mark_started();
    s_.phase = s_.stop_reason == StopReason::none ? Phase::running : Phase::stopping;
    s_.ready_by.reset();  // it has ended
    return;               // RunExited follows
  }
  recover_without_run(newest_run, what);
}

// The run that was found may be one of an older definition: the file was edited while nobody looked, or the daemon died
// between the file and what follows from it. What starts from now on has the new definition anyway.
void Decider::take_over_definition(const Recovery& found) {
  if (s_.on_demand || s_.phase == Phase::removed || !is_enabled()) return;
  const bool differs = found.before != nullptr && needs_restart(*found.before, definition());
  const bool rescheduled = found.before != nullptr && schedule_differs(*found.before, definition());
  const bool is_found = found.what == RecoveredRun::running || found.what == RecoveredRun::exited;
  const bool outdated = is_found ? found.outdated.value_or(differs) : differs;
  switch (s_.phase) {
    case Phase::removed:
    case Phase::starting:
      return;
    case Phase::idle:
    case Phase::waiting:
    case Phase::blocked:
      if (rescheduled || (differs && !is_recurring(definition()))) plan_anew();
      return;
    case Phase::running:
      if (outdated && found.what == RecoveredRun::running && !found.rolls) return stop(StopReason::restarted);
      break;
    case Phase::stopping:
    case Phase::draining:
      break;
  }
  if (rescheduled) {
    s_.next_start.reset();
    plan_next_occurrence();
  }
  // It ends or has ended already, and for that its exit policy was not made.
  const bool by_itself = s_.phase == Phase::running && found.what == RecoveredRun::running;
  if (!outdated || by_itself || s_.stop_reason == StopReason::disabled || is_recurring(definition())) return;
  if (s_.phase == Phase::running) s_.phase = Phase::stopping;
  s_.stop_reason = StopReason::restarted;
  s_.restart_after_stop = false;
}

// The definition file is written before a change of status is answered, so it is newer than the saved state or equal.
void Decider::take_over_status() {
  if (s_.on_demand || s_.status == definition().status) return;
  s_.status = definition().status;
  became_enabled_ = s_.status == AppStatus::enabled;
  if (became_enabled_) {
    s_.restart_after_stop = is_live() && s_.stop_reason == StopReason::disabled;
    return;
  }
  s_.next_start.reset();
  s_.restart_after_stop = false;
  if (is_live()) {
    stop(StopReason::disabled);
  } else if (!wait_for_outgoing(StopReason::disabled)) {
    rest_disabled();
  }
  effects_.clear();  // whether there is a run to stop is not known yet
}

// The definition may have been edited since the state was saved, or the zone: what was planned by another schedule is
// void.
void Decider::drop_foreign_plan() {
  if (!s_.next_start || s_.next_start->steady) return;
  const WallTime planned = s_.next_start->wall;
  const bool fits =
      is_recurring(definition()) ? is_occurrence(definition(), planned, policy_.zone) : s_.phase == Phase::waiting;
  if (!fits) s_.next_start.reset();
}

// Runs were started after the state was saved. All before the newest are gone, or it would not have been started, but
// for one that was handed over.
void Decider::catch_up(RunNumber newest_run) {
  if (s_.phase == Phase::starting) ++s_.starts;  // a run of its own, before those that the state has not heard of
  s_.starts += newest_run - s_.last_run - 1;     // mark_started() counts the newest
  use_up_occurrences(newest_run - s_.last_run);
  s_.last_run = newest_run;
  s_.current_run = newest_run;
  s_.phase = Phase::starting;
  s_.stop_reason = is_enabled() ? StopReason::none : StopReason::disabled;
  s_.restart_after_stop = false;
  s_.remove_at.reset();
  if (s_.on_demand && s_.on_demand->timeout.count() > 0 && !s_.on_demand->kill_at)
    s_.on_demand->kill_at = now_.steady + s_.on_demand->timeout;
}

// Each run that the state has not heard of took the occurrence that was planned then; what came due after the last of
// them was missed, and stays planned so that it is counted.
void Decider::use_up_occurrences(RunNumber runs) {
  if (s_.on_demand || !is_recurring(definition()) || !s_.next_start || s_.next_start->steady)
    return plan_next_occurrence();
  while (runs-- > 0 && s_.next_start && is_due(*s_.next_start)) {
    const auto next = next_occurrence(definition(), s_.next_start->wall, policy_.zone);
    s_.next_start = next ? std::optional(PlannedStart{.wall = *next}) : std::nullopt;
  }
}

void Decider::recover_outgoing(std::span<const OtherRun> others, bool lost) {
  if (s_.outgoing_run == 0) return;
  const auto known = std::ranges::find(others, s_.outgoing_run, &OtherRun::run);
  const auto what = known == others.end() ? RecoveredRun::none : known->what;
  if (lost || what == RecoveredRun::lost) {
    if (!s_.outgoing_exited) note_exit({.run = s_.outgoing_run, .known = false});
    s_.start_is_due = false;
    return forget_outgoing();
  }
  if (what == RecoveredRun::running) {
    s_.outgoing_exited = false;
    if (s_.outgoing_until) return;
    const bool replaced = is_enabled() && s_.stop_reason == StopReason::none;
    return emit(effect::StopRun{.run = s_.outgoing_run,
                                .grace = replaced ? policy_.stop_grace : grace(),
                                .reason = replaced ? StopReason::replaced : s_.stop_reason});
  }
  if (s_.outgoing_exited) return drain_outgoing();  // its exit was decided, whether the report comes again or not
  if (what != RecoveredRun::exited) outgoing_exited({.run = s_.outgoing_run, .known = false});
}

void Decider::recover_living(RunNumber newest_run) {
  // A start that was given up for lost may have happened after all.
  if (s_.current_run != newest_run || !is_live()) {
    s_.current_run = newest_run;
    s_.phase = Phase::starting;
    s_.stop_reason = is_enabled() ? StopReason::none : StopReason::disabled;
    plan_next_occurrence();
  }
  if (s_.phase == Phase::starting) mark_started();
  s_.healthy = s_.healthy || definition().health_check_cmd.empty();
  if (!s_.next_start) plan_next_occurrence();
  s_.phase = s_.stop_reason == StopReason::none ? Phase::running : Phase::stopping;
  review_readiness();  // its definition may have been edited
  // What it said in time, while nobody listened, is heard first.
  if (s_.ready_by) s_.ready_by = std::max(*s_.ready_by, now_.steady + kHearingTime);
  if (s_.phase == Phase::stopping) stop_run_now();  // a second TERM does no harm, a forgotten one would
}

void Decider::recover_without_run(RunNumber newest_run, RecoveredRun what) {
  const bool was_started = s_.phase != Phase::starting || newest_run >= s_.current_run;
  switch (s_.phase) {
    case Phase::removed:
      return;
    case Phase::idle:
      // A fresh app, or one that was enabled in the file; what rests after its exit goes on resting.
      if (is_enabled() && (became_enabled_ || (s_.last_run == 0 && !s_.remove_at))) return plan_anew();
      return review_plan();
    case Phase::waiting:
      return s_.next_start ? review_plan() : plan();
    case Phase::blocked:
      review_plan();
      return review_dependencies();
    case Phase::starting:
      if (!was_started) {
        rest();
        s_.current_run = 0;
        s_.stop_reason = StopReason::none;
        s_.restart_after_stop = false;
        if (s_.on_demand) return remove();  // its caller never got an answer
        return is_enabled() ? resume() : rest_disabled();
      }
      mark_started();
      [[fallthrough]];
    case Phase::running:
    case Phase::stopping:
      record_exit({.run = s_.current_run, .known = false});
      drain();
      break;
    case Phase::draining:
      if (what != RecoveredRun::lost) drain();
      break;
  }
  if (what != RecoveredRun::lost) return;  // descendants may be left: RunGone decides
  std::erase_if(effects_, [](const Effect& e) { return std::holds_alternative<effect::DrainRun>(e); });
  if (policy_.restart_lost_runs && s_.stop_reason == StopReason::none && !s_.on_demand)
    s_.stop_reason = StopReason::restarted;
  after_run();
}

}  // namespace appmesh::core

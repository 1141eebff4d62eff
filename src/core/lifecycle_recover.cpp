// What a daemon that comes back makes of a saved state that may be older than what the keeper knows. Two rules keep it
// safe: a living run is always taken over, whatever the state says, and a run whose end nobody saw is drained before
// anything new starts.
#include "core/lifecycle_decider.h"

namespace appmesh::core {

std::vector<Effect> recover(LifecycleState& state, RunNumber newest_run, RecoveredRun what, Now now,
                            const Policy& policy) {
  Decider decider(state, now, policy);
  decider.recover(newest_run, what);
  return decider.finish();
}

void Decider::recover(RunNumber newest_run, RecoveredRun what) {
  if (s_.phase == Phase::removed) return;
  s_.alarm.reset();  // whatever was armed, ArmTimer replaces it
  persist();
  take_over_status();
  if (newest_run > s_.last_run) catch_up(newest_run);
  if (what == RecoveredRun::running) return recover_living(newest_run);
  if (what == RecoveredRun::exited && s_.current_run != 0 && newest_run == s_.current_run) {
    if (s_.phase == Phase::starting) mark_started();
    s_.phase = s_.stop_reason == StopReason::none ? Phase::running : Phase::stopping;
    return;  // RunExited follows
  }
  recover_without_run(newest_run, what);
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
  is_live() ? stop(StopReason::disabled) : rest_disabled();
  effects_.clear();  // whether there is a run to stop is not known yet
}

// Runs were started after the state was saved. All before the newest are gone, or it would not have been started.
void Decider::catch_up(RunNumber newest_run) {
  if (s_.phase == Phase::starting) ++s_.starts;  // a run of its own, before those that the state has not heard of
  s_.starts += newest_run - s_.last_run - 1;     // mark_started() counts the newest
  s_.last_run = newest_run;
  s_.current_run = newest_run;
  s_.phase = Phase::starting;
  s_.stop_reason = is_enabled() ? StopReason::none : StopReason::disabled;
  s_.restart_after_stop = false;
  s_.remove_at.reset();
  if (s_.on_demand && s_.on_demand->timeout.count() > 0 && s_.on_demand->kill_at == WallTime{})
    s_.on_demand->kill_at = now_.wall + s_.on_demand->timeout;
  plan_next_occurrence();
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
      return review_plan();
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

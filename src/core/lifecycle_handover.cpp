// The handover of docs/wire.md#recurring: an occurrence of a recurring app with retention comes due while its run
// lives. The old run goes on as the outgoing one, for at most `retention` seconds, beside the new one. Two runs of an
// app at most: while an older one is still going out it is stopped at once, and the occurrence starts when that one is
// gone.
#include <utility>

#include "core/lifecycle_decider.h"
#include "core/schedule.h"

namespace appmesh::core {

bool Decider::hands_over() const {
  return policy_.handover && is_recurring(definition()) && definition().retention &&
         definition().retention->value.count() > 0;
}

// An occurrence came due while a run lives.
void Decider::replace_run() {
  s_.start_is_due = false;
  if (!hands_over()) return stop(StopReason::replaced);
  persist();
  if (s_.outgoing_run != 0) {
    s_.start_is_due = true;
    return stop_outgoing(StopReason::replaced, policy_.stop_grace);
  }
  s_.outgoing_run = std::exchange(s_.current_run, 0);
  s_.outgoing_until = now_.steady + definition().retention->value;
  forget_readiness();  // of the old run: the new one may have to wait
  start();
}

void Decider::stop_outgoing(StopReason reason, Seconds grace) {
  if (!s_.outgoing_until) return;
  s_.outgoing_until.reset();
  emit(effect::StopRun{.run = s_.outgoing_run, .grace = grace, .reason = reason});
  persist();
}

// It says how it ended, like every run, but no policy applies: what the app does next is the current run's business.
void Decider::outgoing_exited(const event::RunExited& exited) {
  if (s_.outgoing_exited) return;
  s_.outgoing_until.reset();
  s_.outgoing_exited = true;
  if (s_.phase != Phase::removed) note_exit(exited);
  drain_outgoing();
}

// Its retention is used up, so what it left behind gets the ordinary grace.
void Decider::drain_outgoing() {
  emit(effect::DrainRun{
      .run = s_.outgoing_run, .grace = policy_.stop_grace, .leftovers = definition().behavior.leftovers});
  persist();
}

void Decider::outgoing_gone() {
  if (!s_.outgoing_exited) return;
  forget_outgoing();
  if (!s_.start_is_due || s_.phase != Phase::running) return;
  if (next_opening(definition(), now_.wall) == now_.wall) return replace_run();
  s_.start_is_due = false;  // the window closed meanwhile
}

void Decider::forget_outgoing() {
  s_.outgoing_run = 0;
  s_.outgoing_until.reset();
  s_.outgoing_exited = false;
  persist();
}

void Decider::review_outgoing() {
  if (!s_.outgoing_until) return;
  if (now_.steady >= *s_.outgoing_until) return stop_outgoing(StopReason::replaced, policy_.stop_grace);
  const auto close = window_close(definition(), now_.wall);
  if (close && now_.wall >= *close) stop_outgoing(StopReason::window, grace());
}

// Everything of the app has to end before anything follows: what is left of it counts as its current run from here on.
bool Decider::wait_for_outgoing(StopReason reason) {
  if (s_.outgoing_run == 0) return false;
  stop_outgoing(reason, grace());
  s_.current_run = s_.outgoing_run;
  s_.phase = s_.outgoing_exited ? Phase::draining : Phase::stopping;
  s_.stop_reason = reason;
  forget_outgoing();
  return true;
}

}  // namespace appmesh::core

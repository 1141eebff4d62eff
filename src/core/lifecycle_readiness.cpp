// Readiness and watchdog, docs/wire.md#own-fields: when a run counts as ready, and what becomes of one that is not
// ready in time or gives no sign of life. Both end a run that is not doing its work, so its exit policy applies as if
// it had ended itself.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/lifecycle_decider.h"

namespace appmesh::core {

namespace {

ReadinessKind readiness_of(const AppDefinition& definition) {
  return definition.readiness ? definition.readiness->by : ReadinessKind::start;
}

}  // namespace

void Decider::on(const event::RunReady& ready) {
  if (ready.run != s_.current_run) return;
  if (ready.ready) return mark_ready();
  if (std::exchange(s_.ready, false)) persist();
}

void Decider::on(const event::RunStatus& status) {
  const bool lives = s_.phase == Phase::running || s_.phase == Phase::stopping;
  if (status.run != s_.current_run || !lives || s_.status_text == status.text) return;
  s_.status_text = status.text;
  persist();
}

void Decider::on(const event::WatchdogExpired& expired) {
  if (expired.run == s_.current_run && s_.phase == Phase::running) stop(StopReason::watchdog);
}

void Decider::mark_ready() {
  if (s_.ready || (s_.phase != Phase::running && s_.phase != Phase::stopping)) return;
  s_.ready = true;
  s_.ready_by.reset();
  persist();
}

void Decider::forget_readiness() {
  s_.ready = false;
  s_.ready_by.reset();
  s_.status_text.clear();
}

// The run has just been started.
void Decider::await_readiness() {
  forget_readiness();
  s_.ready_by = s_.run_started_steady;  // it is waited for from now on
  review_readiness();
}

// Also after the definition changed under a run that lives: what was ready stays ready, and what said that it is about
// to end is not waited for again.
void Decider::review_readiness() {
  if (s_.phase != Phase::running || s_.ready) return;
  const ReadinessKind kind = readiness_of(definition());
  if (kind == ReadinessKind::start || (kind == ReadinessKind::health && s_.healthy)) return mark_ready();
  const bool waited_for = std::exchange(s_.ready_by, std::nullopt).has_value();
  if (const auto patience = definition().readiness->timeout_seconds; waited_for && patience > 0)
    s_.ready_by = std::max(s_.run_started_steady + Seconds(patience), now_.steady);
}

// What last_error says more about the end of a run that was stopped for its own fault.
std::string Decider::stop_note() const {
  if (s_.stop_reason == StopReason::not_ready && definition().readiness)
    return fmt::format("not ready within {} s (readiness by {})", definition().readiness->timeout_seconds,
                       to_string(readiness_of(definition())));
  if (s_.stop_reason == StopReason::watchdog)
    return fmt::format("watchdog: no WATCHDOG=1 for {} s", definition().watchdog_seconds);
  return {};
}

}  // namespace appmesh::core

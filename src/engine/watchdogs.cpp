#include "engine/watchdogs.h"

#include <utility>

#include "platform/clock.h"

namespace appmesh::engine {

Watchdogs::Watchdogs(Timers& timers, std::function<void(const runtime::RunId&)> expired)
    : timers_(timers), expired_(std::move(expired)) {}

void Watchdogs::follow(const runtime::RunId& run, std::chrono::seconds period) {
  const auto [found, added] = watches_.try_emplace(run);
  if (!added) return;
  found->second.period = period;
  found->second.last = platform::steady_now();
  arm(run, found->second);
}

void Watchdogs::sign(const runtime::RunId& run) {
  if (const auto found = watches_.find(run); found != watches_.end()) found->second.last = platform::steady_now();
}

void Watchdogs::forget(const runtime::RunId& run) {
  const auto found = watches_.find(run);
  if (found == watches_.end()) return;
  timers_.cancel(found->second.timer);
  watches_.erase(found);
}

void Watchdogs::arm(const runtime::RunId& run, Watch& watch) {
  watch.timer = timers_.at(watch.last + watch.period, [this, run] { due(run); });
}

void Watchdogs::due(const runtime::RunId& run) {
  const auto found = watches_.find(run);
  if (found == watches_.end()) return;
  if (platform::steady_now() < found->second.last + found->second.period) return arm(run, found->second);
  found->second.timer = 0;  // stays as it is until the run is forgotten: it is told once
  expired_(run);
}

}  // namespace appmesh::engine

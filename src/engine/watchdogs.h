// Deadlines of runs that have to give signs of life (`watchdog_seconds`, docs/wire.md#own-fields). A sign costs one
// lookup and no timer: the deadline moves only when it is reached. Owned by the engine and used only on its thread.
#pragma once

#include <functional>
#include <unordered_map>

#include "core/time.h"
#include "engine/timers.h"
#include "runtime/run_id.h"

namespace appmesh::engine {

class Watchdogs {
 public:
  // `expired` is called once for a run.
  Watchdogs(Timers& timers, std::function<void(const runtime::RunId&)> expired);

  void follow(const runtime::RunId& run, std::chrono::seconds period);  // again: no change
  void sign(const runtime::RunId& run);
  void forget(const runtime::RunId& run);

 private:
  struct Watch {
    std::chrono::seconds period{0};
    core::SteadyTime last{};
    TimerId timer = 0;
  };
  void arm(const runtime::RunId& run, Watch& watch);
  void due(const runtime::RunId& run);

  Timers& timers_;
  std::function<void(const runtime::RunId&)> expired_;
  std::unordered_map<runtime::RunId, Watch, runtime::RunIdHash> watches_;
};

}  // namespace appmesh::engine

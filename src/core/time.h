// The clock readings that the core is handed; it never reads a clock itself. Wall time decides schedules and windows,
// steady time decides waits (back-off, grace), so a stepped clock does not stretch them. Plain values, any thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace appmesh::core {

using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::microseconds>;
using Seconds = std::chrono::seconds;

struct Now {
  WallTime wall;
  SteadyTime steady;
};

[[nodiscard]] inline std::int64_t epoch_seconds(WallTime t) {
  return std::chrono::floor<std::chrono::seconds>(t).time_since_epoch().count();
}

}  // namespace appmesh::core

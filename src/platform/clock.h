// Reads the clocks for the core, which never does so itself. No state; any thread.
#pragma once

#include "core/time.h"

namespace appmesh::platform {

[[nodiscard]] inline core::WallTime wall_now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now());
}

[[nodiscard]] inline core::SteadyTime steady_now() {
  return std::chrono::floor<std::chrono::microseconds>(std::chrono::steady_clock::now());
}

[[nodiscard]] inline core::Now now() {
  return {wall_now(), steady_now()};
}

}  // namespace appmesh::platform

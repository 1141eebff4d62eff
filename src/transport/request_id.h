// The id of a request in the log and in answers with status 500: unique as long as the daemon runs. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include <fmt/format.h>

namespace appmesh::transport {

[[nodiscard]] inline std::string next_request_id() {
  static std::atomic<std::uint64_t> counter{0};
  return fmt::format("{:x}", counter.fetch_add(1, std::memory_order_relaxed) + 1);
}

}  // namespace appmesh::transport

// The keeper's few log lines: one write(2) to stderr each, "2025-01-31T12:00:00.000Z appkeeper[pid] text", no heap.
#pragma once

#include <cstdint>

namespace appmesh::keeper {

[[gnu::format(printf, 1, 2)]] void log(const char* format, ...);

// CLOCK_REALTIME in microseconds.
std::int64_t realtime_us();

}  // namespace appmesh::keeper

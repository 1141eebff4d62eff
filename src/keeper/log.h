// The keeper's few log lines: one write(2) to stderr each, "2025-01-31T12:00:00.000Z appkeeper[pid] text", no heap.
#pragma once

#include <cstdint>

namespace appmesh::keeper {

// From now on into kLogName of this directory, which stays open: made anew when it has been moved away, and moved aside
// itself (to kLogName.1) when it is larger than kMaxLogBytes.
inline constexpr long kMaxLogBytes = 1024 * 1024;
void log_into(int directory);
// Whether stderr is that file.
bool logs_into(int directory);

[[gnu::format(printf, 1, 2)]] void log(const char* format, ...);

// CLOCK_REALTIME in microseconds.
std::int64_t realtime_us();

}  // namespace appmesh::keeper

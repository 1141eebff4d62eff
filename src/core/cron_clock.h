// The instants at which a cron expression comes in a zone whose clock is changed now and then. One rule for each kind
// of expression:
//
//   names its hours      a local time that the clock leaves out comes at the first instant after the gap; one that the
//                        clock shows twice comes the first time. So a daily run is neither lost nor doubled.
//   is for every hour    follows the clock as it goes: what the clock leaves out does not come, what it shows twice
//                        comes twice. So an hourly run has an hour before it and an hour after it.
//
// Pure functions, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "core/cron.h"
#include "core/zone.h"

namespace appmesh::core {

// The first instant strictly after `after`. None: not within 41 years, which is never.
[[nodiscard]] std::optional<std::chrono::sys_seconds> next_instant(const CronExpression& cron,
                                                                   std::chrono::sys_seconds after, const Zone& zone);

// How many instants lie in (after, until]. The time this takes grows with the days between them, not with the count.
[[nodiscard]] std::uint64_t count_instants(const CronExpression& cron, std::chrono::sys_seconds after,
                                           std::chrono::sys_seconds until, const Zone& zone);

}  // namespace appmesh::core

// When an app may start and when its run must end: start_time, end_time, the daily window, the interval grid and cron
// of docs/wire.md#continuous, #recurring and #windows. Pure functions of a definition and an instant, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/app_definition.h"
#include "core/error.h"
#include "core/time.h"
#include "core/zone.h"

namespace appmesh::core {

[[nodiscard]] inline bool is_recurring(const AppDefinition& definition) {
  return definition.start_interval.has_value();
}

// The first instant at or after `from` that lies in every window; `from` itself when they are open, none when they have
// closed for good.
[[nodiscard]] std::optional<WallTime> next_opening(const AppDefinition& definition, WallTime from);

// The first occurrence of a recurring app strictly after `after`, moved to the next opening of the daily window.
[[nodiscard]] std::optional<WallTime> next_occurrence(const AppDefinition& definition, WallTime after,
                                                      const Zone& zone);

// Whether an occurrence of the app comes at `at`.
[[nodiscard]] bool is_occurrence(const AppDefinition& definition, WallTime at, const Zone& zone);

// How many occurrences lie in (after, until], of the last hundred years of it at most. The time this takes grows with
// the days between them, not with the count.
[[nodiscard]] std::uint64_t occurrences_between(const AppDefinition& definition, WallTime after, WallTime until,
                                                const Zone& zone);

// When an enabled app that has no run starts next: `now` means at once, none means never.
[[nodiscard]] std::optional<WallTime> next_due(const AppDefinition& definition, WallTime now, const Zone& zone);

// When the windows that are open at `at` close; `at` itself when one is closed, none when they stay open.
[[nodiscard]] std::optional<WallTime> window_close(const AppDefinition& definition, WallTime at);

// When an app so defined would start if it were registered now: its next `count` starts (1..1000, else
// invalid_argument) in epoch seconds; fewer when no more lie ahead. An app without an interval starts when its windows
// open. Planned by the functions above, so what is shown is what will happen.
[[nodiscard]] Result<std::vector<std::int64_t>> preview(const AppDefinition& definition, std::int64_t count,
                                                        WallTime now, const Zone& zone);

// Whether the two differ in what decides the times of starts.
[[nodiscard]] bool schedule_differs(const AppDefinition& a, const AppDefinition& b);

}  // namespace appmesh::core

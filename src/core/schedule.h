// When an app may start and when its run must end: start_time, end_time, the daily window, the interval grid and cron
// of sections 4.2 to 4.4 of the wire contract. Pure functions of a definition and an instant, any thread.
#pragma once

#include <chrono>
#include <optional>

#include "core/app_definition.h"
#include "core/time.h"

namespace appmesh::core {

// The zone that cron expressions are read in: today a fixed offset, as PosixTimezone "+08" gives it.
struct Zone {
  std::chrono::seconds utc_offset{0};  // local time minus UTC
};

[[nodiscard]] inline bool is_recurring(const AppDefinition& definition) {
  return definition.start_interval.has_value();
}

// The first instant at or after `from` that lies in every window; `from` itself when they are open, none when they have
// closed for good.
[[nodiscard]] std::optional<WallTime> next_opening(const AppDefinition& definition, WallTime from);

// The first occurrence of a recurring app strictly after `after`, moved to the next opening of the daily window.
[[nodiscard]] std::optional<WallTime> next_occurrence(const AppDefinition& definition, WallTime after,
                                                      const Zone& zone);

// How many occurrences lie in (after, until]; counting ends at 1000.
[[nodiscard]] std::uint64_t occurrences_between(const AppDefinition& definition, WallTime after, WallTime until,
                                                const Zone& zone);

// When an enabled app that has no run starts next: `now` means at once, none means never.
[[nodiscard]] std::optional<WallTime> next_due(const AppDefinition& definition, WallTime now, const Zone& zone);

// When the windows that are open at `at` close; `at` itself when one is closed, none when they stay open.
[[nodiscard]] std::optional<WallTime> window_close(const AppDefinition& definition, WallTime at);

// Whether the two differ in what decides the times of starts.
[[nodiscard]] bool schedule_differs(const AppDefinition& a, const AppDefinition& b);

}  // namespace appmesh::core

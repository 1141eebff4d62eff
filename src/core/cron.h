// Cron expressions of docs/wire.md#recurring: 6 fields (second first) or 5 (second 0), `*` `,` `-` `/` `?`,
// English names, `L`, and `@daily` and its kin. A CronExpression is a plain value made by parse_cron(); it knows
// calendar fields only, no zone and no clock: core/cron_clock.h maps its local times to instants. Pure functions, any
// thread.
#pragma once

#include <bitset>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/error.h"

namespace appmesh::core {

struct CronExpression {
  std::bitset<60> seconds;
  std::bitset<60> minutes;
  std::bitset<24> hours;
  std::bitset<32> days;          // 1..31
  std::bitset<13> months;        // 1..12
  std::bitset<7> weekdays;       // 0 is Sunday
  std::bitset<7> last_weekdays;  // `5L`: the last Friday of the month
  bool last_day = false;         // `L` as day of the month

  // A day must satisfy both the day-of-month and the weekday field, as in the published daemon.
  [[nodiscard]] bool matches_day(std::chrono::year_month_day day) const;
  bool operator==(const CronExpression&) const = default;
};

// Errors: invalid_argument that names the cron field and the reason; also an expression that no date can ever match.
// Every other one comes again and again.
[[nodiscard]] Result<CronExpression> parse_cron(std::string_view text);

// The first matching local time strictly after `after`. None within 41 years means never: by then the calendar has
// repeated itself, even around a century without a leap year.
[[nodiscard]] std::optional<std::chrono::local_seconds> next_local(const CronExpression& cron,
                                                                   std::chrono::local_seconds after);

// How many local times match in [from, until).
[[nodiscard]] std::uint64_t count_local(const CronExpression& cron, std::chrono::local_seconds from,
                                        std::chrono::local_seconds until);

}  // namespace appmesh::core

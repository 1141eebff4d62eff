// A rule of POSIX's TZ variable, which also ends every TZif file: the offsets of standard and daylight saving time and
// the days of the year on which one follows the other. Made by parse(), then a plain value; any thread. Not for other
// rooms: time_zone.h is.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/zone.h"

namespace appmesh::platform {

class PosixZoneRule {
 public:
  // Errors: invalid_argument.
  [[nodiscard]] static Result<PosixZoneRule> parse(std::string_view text);

  [[nodiscard]] std::int32_t standard_seconds() const { return standard_; }
  // Adds the changes after the last one in `rules`, until the year 2400.
  void extend(core::ZoneRules& rules) const;

 private:
  enum class DayKind : std::uint8_t { month_week_day, julian_without_leap_day, day_of_year };
  struct Day {
    DayKind kind = DayKind::day_of_year;
    int month = 1, week = 1, weekday = 0;
    int day = 0;
    std::int32_t second = 2 * 3600;  // of local time that day; may be negative or past midnight
  };
  struct Saving {
    std::int32_t offset = 0;
    Day start, end;
  };
  class Reader;
  [[nodiscard]] static std::int64_t local_second(const Day& day, int year);

  std::int32_t standard_ = 0;
  std::optional<Saving> saving_;
};

}  // namespace appmesh::platform

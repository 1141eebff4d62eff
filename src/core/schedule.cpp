#include "core/schedule.h"

#include <algorithm>

#include "core/cron.h"

namespace appmesh::core {

namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::seconds;

constexpr int kSecondsOfDay = 86400;

WallTime at_second(std::int64_t epoch) {
  return WallTime(seconds(epoch));
}

WallTime midnight(WallTime at) {
  return floor<days>(at);
}

seconds second_of_day(WallTime at) {
  return floor<seconds>(at - midnight(at));
}

bool is_whole_day(const DailyLimitation& daily) {
  return daily.start_of_day() == daily.end_of_day();
}

bool is_open(const DailyLimitation& daily, WallTime at) {
  const auto now = second_of_day(at).count();
  const int start = daily.start_of_day();
  const int end = daily.end_of_day();
  if (start == end) return true;
  return start < end ? now >= start && now < end : now >= start || now < end;
}

// The first instant strictly after `after` that is `second` of its day.
WallTime next_second_of_day(WallTime after, int second) {
  const WallTime today = midnight(after) + seconds(second);
  return today > after ? today : today + seconds(kSecondsOfDay);
}

bool has_ended(const AppDefinition& d, WallTime at) {
  return d.end_time != 0 && at >= at_second(d.end_time);
}

std::optional<WallTime> next_on_grid(const AppDefinition& d, WallTime after) {
  const WallTime anchor = at_second(d.start_time != 0 ? d.start_time : d.register_time + 1);
  if (after < anchor) return anchor;
  const auto interval = d.start_interval->value;
  return anchor + ((after - anchor) / interval + 1) * interval;
}

std::optional<WallTime> next_of_cron(const AppDefinition& d, WallTime after, const Zone& zone) {
  const auto cron = parse_cron(d.start_interval->text);
  if (!cron) return std::nullopt;  // cannot be: the definition was checked
  // An occurrence at start_time itself counts, so look from the second before it.
  const WallTime from = d.start_time == 0 ? after : std::max(after, at_second(d.start_time) - seconds(1));
  const std::chrono::local_seconds local(floor<seconds>(from.time_since_epoch()) + zone.utc_offset);
  const auto next = next_local(*cron, local);
  if (!next) return std::nullopt;
  return WallTime(next->time_since_epoch() - zone.utc_offset);
}

}  // namespace

std::optional<WallTime> next_opening(const AppDefinition& d, WallTime from) {
  WallTime at = std::max(from, at_second(d.start_time));
  if (d.daily_limitation && !is_open(*d.daily_limitation, at))
    at = next_second_of_day(at, d.daily_limitation->start_of_day());
  if (has_ended(d, at)) return std::nullopt;
  return at;
}

std::optional<WallTime> next_occurrence(const AppDefinition& d, WallTime after, const Zone& zone) {
  const auto occurrence = d.cron ? next_of_cron(d, after, zone) : next_on_grid(d, after);
  if (!occurrence) return std::nullopt;
  return next_opening(d, *occurrence);
}

std::uint64_t occurrences_between(const AppDefinition& d, WallTime after, WallTime until, const Zone& zone) {
  constexpr std::uint64_t kMost = 1000;
  std::uint64_t count = 0;
  while (count < kMost) {
    const auto next = next_occurrence(d, after, zone);
    if (!next || *next > until) break;
    after = *next;
    ++count;
  }
  return count;
}

std::optional<WallTime> next_due(const AppDefinition& d, WallTime now, const Zone& zone) {
  return is_recurring(d) ? next_occurrence(d, now, zone) : next_opening(d, now);
}

std::optional<WallTime> window_close(const AppDefinition& d, WallTime at) {
  if (at < at_second(d.start_time) || has_ended(d, at)) return at;
  std::optional<WallTime> close;
  if (d.end_time != 0) close = at_second(d.end_time);
  if (d.daily_limitation && !is_whole_day(*d.daily_limitation)) {
    if (!is_open(*d.daily_limitation, at)) return at;
    const WallTime daily = next_second_of_day(at, d.daily_limitation->end_of_day());
    close = close ? std::min(*close, daily) : daily;
  }
  return close;
}

bool schedule_differs(const AppDefinition& a, const AppDefinition& b) {
  return a.start_time != b.start_time || a.end_time != b.end_time || a.start_interval != b.start_interval ||
         a.cron != b.cron || a.daily_limitation != b.daily_limitation;
}

}  // namespace appmesh::core

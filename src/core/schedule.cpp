#include "core/schedule.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/cron.h"

namespace appmesh::core {

namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

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

// The first matching instant strictly after `after`. A local time inside a gap means the first instant after the gap. A
// local time that comes twice counts once, the first time, unless the expression is for every hour: then each of the
// two hours is an hour of its own, or there would be a hole.
std::optional<sys_seconds> next_instant(const CronExpression& cron, sys_seconds after, const Zone& zone) {
  const auto local = [](sys_seconds at, seconds offset) { return local_seconds(at.time_since_epoch() + offset); };
  const bool every_hour = cron.hours.all();
  auto stretch = zone.stretch_at(after);
  local_seconds from = local(after, stretch.offset) + seconds(1);
  std::optional<local_seconds> found;
  for (;;) {
    if (!every_hour && stretch.begin) from = std::max(from, local(*stretch.begin, stretch.offset_before));
    if (!found || *found < from) found = next_local(cron, from - seconds(1));
    if (!found) return std::nullopt;
    const sys_seconds at(found->time_since_epoch() - stretch.offset);
    if (!stretch.end || at < *stretch.end) return at;
    const sys_seconds change = *stretch.end;
    stretch = zone.stretch_at(change);
    from = local(change, stretch.offset);
    if (*found < from) return change;
    if (stretch.offset < stretch.offset_before) found.reset();
  }
}

std::optional<WallTime> next_of_cron(const AppDefinition& d, WallTime after, const Zone& zone) {
  const auto cron = parse_cron(d.start_interval->text);
  if (!cron) return std::nullopt;  // cannot be: the definition was checked
  // An occurrence at start_time itself counts, so look from the second before it.
  const WallTime from = d.start_time == 0 ? after : std::max(after, at_second(d.start_time) - seconds(1));
  return next_instant(*cron, floor<seconds>(from), zone);
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

Result<std::vector<std::int64_t>> preview(const AppDefinition& definition, std::int64_t count, WallTime now,
                                          const Zone& zone) {
  constexpr std::int64_t kMost = 1000;
  constexpr std::int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z: nobody plans further
  if (count < 1 || count > kMost)
    return fail(ErrorKind::invalid_argument, fmt::format("field 'count': must be in 1..{}", kMost));
  AppDefinition d = definition;
  if (d.register_time == 0) d.register_time = epoch_seconds(now);
  std::vector<std::int64_t> starts;
  auto next = next_due(d, now, zone);
  while (next && *next <= at_second(kLastSecond) && starts.size() < static_cast<std::size_t>(count)) {
    starts.push_back(epoch_seconds(*next));
    if (is_recurring(d)) {
      next = next_occurrence(d, *next, zone);
    } else {
      const auto close = window_close(d, *next);
      next = close ? next_opening(d, *close) : std::nullopt;
    }
  }
  return starts;
}

bool schedule_differs(const AppDefinition& a, const AppDefinition& b) {
  return a.start_time != b.start_time || a.end_time != b.end_time || a.start_interval != b.start_interval ||
         a.cron != b.cron || a.daily_limitation != b.daily_limitation;
}

}  // namespace appmesh::core

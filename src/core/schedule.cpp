#include "core/schedule.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/cron.h"
#include "core/cron_clock.h"

namespace appmesh::core {

namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::seconds;

constexpr int kSecondsOfDay = 86400;
constexpr days kLongestCount{36525};  // a century: a clock that was never set must not make the count take long

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

// The occurrences of a recurring app before any window moves them: the interval grid, or cron from start_time on.
class Grid {
 public:
  Grid(const AppDefinition& d, const Zone& zone) : d_(d), zone_(zone) {
    if (!d.cron) return;
    if (auto cron = parse_cron(d.start_interval->text)) cron_ = *cron;  // it was checked with the definition
  }

  // The first strictly after `after`.
  [[nodiscard]] std::optional<WallTime> next(WallTime after) const {
    if (d_.cron) return cron_ ? next_instant(*cron_, floor<seconds>(not_before_start(after)), zone_) : std::nullopt;
    if (after < anchor()) return anchor();
    return anchor() + (steps_until(after) + 1) * d_.start_interval->value;
  }

  // How many lie in (after, until].
  [[nodiscard]] std::uint64_t count(WallTime after, WallTime until) const {
    if (until <= after) return 0;
    if (d_.cron)
      return cron_ ? count_instants(*cron_, floor<seconds>(not_before_start(after)), floor<seconds>(until), zone_) : 0;
    if (until < anchor()) return 0;
    return static_cast<std::uint64_t>(after < anchor() ? steps_until(until) + 1
                                                       : steps_until(until) - steps_until(after));
  }

 private:
  [[nodiscard]] WallTime anchor() const { return at_second(d_.start_time != 0 ? d_.start_time : d_.register_time + 1); }
  [[nodiscard]] std::int64_t steps_until(WallTime at) const { return (at - anchor()) / d_.start_interval->value; }
  // What comes at start_time itself counts, so cron is looked at from the second before it.
  [[nodiscard]] WallTime not_before_start(WallTime after) const {
    return d_.start_time == 0 ? after : std::max(after, at_second(d_.start_time) - seconds(1));
  }

  const AppDefinition& d_;
  const Zone& zone_;
  std::optional<CronExpression> cron_;
};

}  // namespace

std::optional<WallTime> next_opening(const AppDefinition& d, WallTime from) {
  WallTime at = std::max(from, at_second(d.start_time));
  if (d.daily_limitation && !is_open(*d.daily_limitation, at))
    at = next_second_of_day(at, d.daily_limitation->start_of_day());
  if (has_ended(d, at)) return std::nullopt;
  return at;
}

std::optional<WallTime> next_occurrence(const AppDefinition& d, WallTime after, const Zone& zone) {
  const auto occurrence = Grid(d, zone).next(after);
  return occurrence ? next_opening(d, *occurrence) : std::nullopt;
}

bool is_occurrence(const AppDefinition& d, WallTime at, const Zone& zone) {
  // What moved to the opening of the window came up while it was closed.
  seconds moved{0};
  if (d.daily_limitation && second_of_day(at).count() == d.daily_limitation->start_of_day()) {
    const auto closed = d.daily_limitation->start_of_day() - d.daily_limitation->end_of_day();
    moved = seconds((closed + kSecondsOfDay) % kSecondsOfDay);
  }
  return next_occurrence(d, at - moved - seconds(1), zone) == at;
}

std::uint64_t occurrences_between(const AppDefinition& d, WallTime after, WallTime until, const Zone& zone) {
  if (d.end_time != 0) until = std::min(until, at_second(d.end_time) - seconds(1));
  after = std::max(after, until - kLongestCount);
  const Grid grid(d, zone);
  if (!d.daily_limitation || is_whole_day(*d.daily_limitation)) return grid.count(after, until);
  std::uint64_t count = 0;
  while (after < until) {
    const WallTime first = floor<seconds>(after) + seconds(1);
    if (is_open(*d.daily_limitation, first)) {
      const WallTime last = next_second_of_day(first, d.daily_limitation->end_of_day()) - seconds(1);
      count += grid.count(after, std::min(last, until));
      after = last;
    } else {
      const WallTime opening = next_second_of_day(first, d.daily_limitation->start_of_day());
      const WallTime last = opening - seconds(1);
      // All that come up while it is closed move to the opening, where one of its own may be.
      if (opening <= until && grid.count(after, last) > 0 && grid.count(last, opening) == 0) ++count;
      after = last;
    }
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

#include "platform/posix_zone_rule.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace appmesh::platform {

namespace {

constexpr int kFirstYear = 1970;
constexpr int kLastYear = 2400;

}  // namespace

// Takes the parts from the front. Each function says false when its part is not there.
class PosixZoneRule::Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  [[nodiscard]] bool at_end() const { return text_.empty(); }
  [[nodiscard]] bool at(char c) const { return text_.starts_with(c); }
  bool skip(char c) {
    if (!at(c)) return false;
    text_.remove_prefix(1);
    return true;
  }

  bool name() {
    if (skip('<')) {
      const auto end = text_.find('>');
      if (end == std::string_view::npos) return false;
      text_.remove_prefix(end + 1);
      return end >= 3;
    }
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    const auto end = std::ranges::find_if_not(text_, letter) - text_.begin();
    text_.remove_prefix(static_cast<std::size_t>(end));
    return end >= 3;
  }

  bool number(int& value, int low, int high) {
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc{} || at('-') || value < low || value > high) return false;
    text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
    return true;
  }

  // [+-]hh[:mm[:ss]]
  bool time(std::int32_t& seconds, int most_hours) {
    const bool negative = skip('-');
    if (!negative) skip('+');
    int hours = 0;
    int minutes = 0;
    int rest = 0;
    if (!number(hours, 0, most_hours)) return false;
    if (skip(':') && (!number(minutes, 0, 59) || (skip(':') && !number(rest, 0, 59)))) return false;
    seconds = (negative ? -1 : 1) * (hours * 3600 + minutes * 60 + rest);
    return true;
  }

  bool day(Day& day) {
    if (skip('M')) {
      day.kind = DayKind::month_week_day;
      if (!number(day.month, 1, 12) || !skip('.') || !number(day.week, 1, 5) || !skip('.') ||
          !number(day.weekday, 0, 6))
        return false;
    } else if (skip('J')) {
      day.kind = DayKind::julian_without_leap_day;
      if (!number(day.day, 1, 365)) return false;
    } else {
      day.kind = DayKind::day_of_year;
      if (!number(day.day, 0, 365)) return false;
    }
    return !skip('/') || time(day.second, 167);
  }

 private:
  std::string_view text_;
};

Result<PosixZoneRule> PosixZoneRule::parse(std::string_view text) {
  const auto bad = [&] { return fail(ErrorKind::invalid_argument, fmt::format("bad time zone rule '{}'", text)); };
  if (text.size() > 256) return fail(ErrorKind::invalid_argument, "time zone rule longer than 256 characters");
  Reader reader(text);
  PosixZoneRule rule;
  std::int32_t west = 0;
  if (!reader.name() || !reader.time(west, 24)) return bad();
  rule.standard_ = -west;
  if (reader.at_end()) return rule;
  Saving saving{.offset = rule.standard_ + 3600};
  if (!reader.name()) return bad();
  if (!reader.at_end() && !reader.at(',')) {
    if (!reader.time(west, 24)) return bad();
    saving.offset = -west;
  }
  if (reader.at_end()) {  // POSIX leaves it open; most take the rule of the United States
    Reader usual("M3.2.0,M11.1.0");
    if (!usual.day(saving.start) || !usual.skip(',') || !usual.day(saving.end)) return bad();
  } else if (!reader.skip(',') || !reader.day(saving.start) || !reader.skip(',') || !reader.day(saving.end) ||
             !reader.at_end()) {
    return bad();
  }
  rule.saving_ = saving;
  return rule;
}

// The instant as seconds of local time.
std::int64_t PosixZoneRule::local_second(const Day& day, int year) {
  using namespace std::chrono;
  const auto y = std::chrono::year(year);
  sys_days date = sys_days(y / January / 1);
  switch (day.kind) {
    case DayKind::month_week_day: {
      const auto m = std::chrono::month(static_cast<unsigned>(day.month));
      const auto weekday = std::chrono::weekday(static_cast<unsigned>(day.weekday));
      date =
          day.week == 5 ? sys_days(y / m / weekday[last]) : sys_days(y / m / weekday[static_cast<unsigned>(day.week)]);
      break;
    }
    case DayKind::julian_without_leap_day:
      date += days(day.day - 1 + (y.is_leap() && day.day >= 60 ? 1 : 0));
      break;
    case DayKind::day_of_year:
      date += days(day.day);
      break;
  }
  return date.time_since_epoch().count() * std::int64_t{86400} + day.second;
}

void PosixZoneRule::extend(core::ZoneRules& rules) const {
  if (!saving_) return;
  std::vector<core::ZoneRules::Change> more;
  for (int year = kFirstYear; year <= kLastYear; ++year) {
    more.push_back({local_second(saving_->start, year) - standard_, saving_->offset});
    more.push_back({local_second(saving_->end, year) - saving_->offset, standard_});
  }
  // Daylight saving time all the year ends at the instant at which it starts again: the start counts.
  std::ranges::sort(more, {},
                    [&](const auto& change) { return std::pair(change.at, change.offset_seconds == saving_->offset); });
  const std::int64_t known_until = rules.changes.empty() ? INT64_MIN : rules.changes.back().at;
  for (const auto& change : more) {
    if (change.at <= known_until) continue;
    if (!rules.changes.empty() && rules.changes.back().at == change.at) rules.changes.pop_back();
    rules.changes.push_back(change);
  }
}

}  // namespace appmesh::platform

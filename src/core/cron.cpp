#include "core/cron.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace appmesh::core {

namespace {

constexpr std::size_t kLongestText = 256;
constexpr int kSecondsOfDay = 86400;

constexpr std::array<std::string_view, 12> kMonths = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                                      "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
constexpr std::array<std::string_view, 7> kWeekdays = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

struct Field {
  std::string_view name;
  int low;
  int high;
  std::span<const std::string_view> words;  // names of the values from `low` on
  bool is_day = false;                      // takes `?`
};
// What crontab(5) writes for often used expressions.
struct Nickname {
  std::string_view name;
  std::string_view expression;
};
constexpr Nickname kNicknames[] = {
    {"@YEARLY", "0 0 0 1 1 *"}, {"@ANNUALLY", "0 0 0 1 1 *"}, {"@MONTHLY", "0 0 0 1 * *"}, {"@WEEKLY", "0 0 0 * * 0"},
    {"@DAILY", "0 0 0 * * *"},  {"@MIDNIGHT", "0 0 0 * * *"}, {"@HOURLY", "0 0 * * * *"},
};

constexpr Field kFields[] = {
    {"second", 0, 59, {}},     {"minute", 0, 59, {}},
    {"hour", 0, 23, {}},       {"day of month", 1, 31, {}, true},
    {"month", 1, 12, kMonths}, {"day of week", 0, 7, kWeekdays, true},
};

std::unexpected<Error> bad(const Field& field, std::string_view reason) {
  return fail(ErrorKind::invalid_argument, fmt::format("cron {}: {}", field.name, reason));
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

Result<int> parse_value(const Field& field, std::string_view text) {
  for (std::size_t i = 0; i < field.words.size(); ++i)
    if (text == field.words[i]) return field.low + static_cast<int>(i);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc{} || end != text.data() + text.size())
    return bad(field, fmt::format("'{}' is not a value", text));
  if (value < field.low || value > field.high)
    return bad(field, fmt::format("{} is not in {}..{}", value, field.low, field.high));
  return value;
}

// One item of a list: `*`, `a`, `a-b`, each with an optional `/step`. Calls set(value) for each value.
template <typename Set>
Result<void> parse_item(const Field& field, std::string_view item, Set set) {
  const auto slash = item.find('/');
  const auto range = item.substr(0, slash);
  int step = 1;
  if (slash != std::string_view::npos) {
    const auto text = item.substr(slash + 1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || step < 1 || step > field.high)
      return bad(field, fmt::format("'{}' is not a step in 1..{}", text, field.high));
  }
  int first = field.low;
  int last = field.high;
  if (range != "*" && !(range == "?" && field.is_day)) {
    const auto dash = range.find('-');
    const auto low = parse_value(field, range.substr(0, dash));
    if (!low) return std::unexpected(low.error());
    first = *low;
    if (dash != std::string_view::npos) {
      const auto high = parse_value(field, range.substr(dash + 1));
      if (!high) return std::unexpected(high.error());
      last = *high;
      if (field.high == 7 && last == 0 && first > 0) last = 7;  // FRI-SUN ends with the Sunday after
    } else if (slash == std::string_view::npos) {
      last = first;
    }
    if (first > last) return bad(field, fmt::format("range '{}' runs backwards", range));
  } else if (field.high == 7) {
    last = 6;  // Sunday once, or steps would count it twice
  }
  for (int value = first; value <= last; value += step) set(value);
  return {};
}

template <std::size_t N>
Result<void> parse_field(const Field& field, std::string_view text, std::bitset<N>& values) {
  for (const auto item : split(text, ',')) {
    if (auto done = parse_item(field, item, [&](int value) { values.set(value % static_cast<int>(N)); }); !done)
      return done;
  }
  return {};
}

Result<void> parse_days(std::string_view text, CronExpression& cron) {
  const Field& field = kFields[3];
  for (const auto item : split(text, ',')) {
    if (item == "L") {
      cron.last_day = true;
    } else if (auto done = parse_item(field, item, [&](int value) { cron.days.set(value); }); !done) {
      return done;
    }
  }
  return {};
}

Result<void> parse_weekdays(std::string_view text, CronExpression& cron) {
  const Field& field = kFields[5];
  for (const auto item : split(text, ',')) {
    if (item == "L") {
      cron.weekdays.set(6);  // the last day of the week, as Quartz and Spring have it
    } else if (item.size() > 1 && item.ends_with('L')) {
      const auto value = parse_value(field, item.substr(0, item.size() - 1));
      if (!value) return std::unexpected(value.error());
      cron.last_weekdays.set(*value % 7);
    } else if (auto done = parse_item(field, item, [&](int value) { cron.weekdays.set(value % 7); }); !done) {
      return done;
    }
  }
  return {};
}

// Whether any date matches. Two leap years or two common years that begin on the same weekday have the same dates, so
// 28 years in a row without a century have every kind of year.
bool can_ever_match(const CronExpression& cron) {
  using namespace std::chrono;
  const local_days end(year(2028) / January / 1);
  for (local_days day(year(2000) / January / 1); day < end; day += days(1))
    if (cron.matches_day(year_month_day(day))) return true;
  return false;
}

// Of an expression that no date matches: what cannot be together.
Error never_matches(CronExpression cron) {
  cron.weekdays.set();
  const bool weekday_is_to_blame = can_ever_match(cron);
  return {ErrorKind::invalid_argument,
          weekday_is_to_blame ? "cron expression never comes: in its months no date has such a day of month and such a "
                                "day of week together"
                              : "cron expression never comes: none of its months has such a day",
          {}};
}

template <std::size_t N>
int next_set(const std::bitset<N>& values, int from) {
  for (int value = from; value < static_cast<int>(N); ++value)
    if (values.test(value)) return value;
  return -1;
}

// The first matching second of a day at or after `from`, both as seconds of the day.
std::optional<int> next_of_day(const CronExpression& cron, int from) {
  int hour = from / 3600;
  int minute = from / 60 % 60;
  int second = from % 60;
  while ((hour = next_set(cron.hours, hour)) >= 0) {
    if (hour != from / 3600) minute = second = 0;
    while ((minute = next_set(cron.minutes, minute)) >= 0) {
      if (hour * 60 + minute != from / 60) second = 0;
      if (const int found = next_set(cron.seconds, second); found >= 0) return (hour * 60 + minute) * 60 + found;
      ++minute;
      second = 0;
    }
    ++hour;
    minute = second = 0;
  }
  return std::nullopt;
}

template <std::size_t N>
std::uint64_t count_below(const std::bitset<N>& values, int limit) {
  std::uint64_t count = 0;
  for (int value = 0; value < limit; ++value) count += values.test(value) ? 1 : 0;
  return count;
}

// How many seconds of a day match before `second` of it.
std::uint64_t matches_before(const CronExpression& cron, int second) {
  const int hour = second / 3600;
  const int minute = second / 60 % 60;
  std::uint64_t count = count_below(cron.hours, hour) * cron.minutes.count() * cron.seconds.count();
  if (hour == 24 || !cron.hours.test(hour)) return count;
  count += count_below(cron.minutes, minute) * cron.seconds.count();
  return cron.minutes.test(minute) ? count + count_below(cron.seconds, second % 60) : count;
}

}  // namespace

bool CronExpression::matches_day(std::chrono::year_month_day day) const {
  using namespace std::chrono;
  if (!months.test(static_cast<unsigned>(day.month()))) return false;
  const unsigned number = static_cast<unsigned>(day.day());
  const unsigned length = static_cast<unsigned>(year_month_day_last(day.year(), month_day_last(day.month())).day());
  if (!days.test(number) && !(last_day && number == length)) return false;
  const unsigned weekday = std::chrono::weekday(local_days(day)).c_encoding();
  return weekdays.test(weekday) || (last_weekdays.test(weekday) && number + 7 > length);
}

Result<CronExpression> parse_cron(std::string_view text) {
  if (text.size() > kLongestText)
    return fail(ErrorKind::invalid_argument, "cron expression longer than 256 characters");
  std::string upper;
  for (const char c : text) upper += (c >= 'a' && c <= 'z') ? static_cast<char>(c - 'a' + 'A') : (c == '\t' ? ' ' : c);
  std::vector<std::string_view> fields;
  for (const auto part : split(upper, ' '))
    if (!part.empty()) fields.push_back(part);
  if (!fields.empty() && fields.front().starts_with('@')) {
    const auto known = std::ranges::find(kNicknames, fields.front(), &Nickname::name);
    if (fields.size() > 1 || known == std::end(kNicknames))
      return fail(ErrorKind::invalid_argument,
                  "cron expression: of the names with @ there are @yearly, @annually, @monthly, @weekly, @daily, "
                  "@midnight and @hourly");
    return parse_cron(known->expression);
  }
  if (fields.size() == 5) fields.insert(fields.begin(), "0");
  if (fields.size() != 6)
    return fail(ErrorKind::invalid_argument, fmt::format("cron expression has {} fields, not 5 or 6", fields.size()));

  CronExpression cron;
  if (auto done = parse_field(kFields[0], fields[0], cron.seconds); !done) return std::unexpected(done.error());
  if (auto done = parse_field(kFields[1], fields[1], cron.minutes); !done) return std::unexpected(done.error());
  if (auto done = parse_field(kFields[2], fields[2], cron.hours); !done) return std::unexpected(done.error());
  if (auto done = parse_days(fields[3], cron); !done) return std::unexpected(done.error());
  if (auto done = parse_field(kFields[4], fields[4], cron.months); !done) return std::unexpected(done.error());
  if (auto done = parse_weekdays(fields[5], cron); !done) return std::unexpected(done.error());
  if (!can_ever_match(cron)) return std::unexpected(never_matches(cron));
  return cron;
}

std::optional<std::chrono::local_seconds> next_local(const CronExpression& cron, std::chrono::local_seconds after) {
  using namespace std::chrono;
  constexpr int kDaysUntilTheCalendarRepeats = 41 * 366;
  const local_seconds from = after + seconds(1);
  local_days day = floor<days>(from);
  int of_day = static_cast<int>((from - local_seconds(day)).count());
  for (int i = 0; i < kDaysUntilTheCalendarRepeats; ++i, day += days(1), of_day = 0) {
    if (!cron.matches_day(year_month_day(day))) continue;
    if (const auto found = next_of_day(cron, of_day)) return local_seconds(day) + seconds(*found);
  }
  return std::nullopt;
}

std::uint64_t count_local(const CronExpression& cron, std::chrono::local_seconds from,
                          std::chrono::local_seconds until) {
  using namespace std::chrono;
  if (from >= until) return 0;
  const local_days first = floor<days>(from);
  const local_days last = floor<days>(until);
  const std::uint64_t per_day = matches_before(cron, kSecondsOfDay);
  std::uint64_t count = 0;
  for (local_days day = first; day <= last; day += days(1))
    if (cron.matches_day(year_month_day(day))) count += per_day;
  // Of the first and the last day, what lies outside.
  if (cron.matches_day(year_month_day(first)))
    count -= matches_before(cron, static_cast<int>((from - local_seconds(first)).count()));
  if (cron.matches_day(year_month_day(last)))
    count -= per_day - matches_before(cron, static_cast<int>((until - local_seconds(last)).count()));
  return count;
}

}  // namespace appmesh::core

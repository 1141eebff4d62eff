#include "core/cron.h"

#include <array>
#include <charconv>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace appmesh::core {

namespace {

constexpr std::size_t kLongestText = 256;

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

bool can_ever_match(const CronExpression& cron) {
  if (cron.last_day) return true;
  constexpr int kDays[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  for (int month = 1; month <= 12; ++month)
    for (int day = 1; cron.months.test(month) && day <= kDays[month]; ++day)
      if (cron.days.test(day)) return true;
  return false;
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
  if (!can_ever_match(cron)) return fail(ErrorKind::invalid_argument, "cron expression never matches a date");
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

}  // namespace appmesh::core

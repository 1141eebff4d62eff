// Prints random schedules with their next starts, one JSON object a line, for test_schedule_oracle.py to compare with
// what others make of them.  schedule_cases <seed> <count>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "core/cron.h"
#include "core/schedule.h"
#include "platform/time_zone.h"

namespace appmesh::simulation {
namespace {

using std::chrono::seconds;

constexpr std::array kZones = {"+08",
                               "-03:30",
                               "+00",
                               "Etc/UTC",
                               "Europe/Berlin",
                               "America/New_York",
                               "Australia/Lord_Howe",
                               "America/Sao_Paulo",
                               "Asia/Kathmandu",
                               "Africa/Cairo",
                               "Pacific/Apia",
                               "Asia/Beirut",
                               "Europe/Dublin",
                               "Atlantic/Azores",
                               "America/Havana",
                               "Africa/Casablanca"};
constexpr std::array kMonths = {"JAN", "feb", "Mar", "APR", "may", "JUN", "jul", "AUG", "SEP", "oct", "NOV", "DEC"};
constexpr std::array kWeekdays = {"SUN", "mon", "Tue", "WED", "thu", "FRI", "sat"};

class Cases {
 public:
  explicit Cases(std::uint64_t seed) : random_(seed) {}

  boost::json::object next() {
    const char* name = pick(kZones);
    const core::Zone zone = platform::load_zone(name).value();
    const std::int64_t now = instant(zone);
    core::AppDefinition d;
    d.cron = !one_in(5);
    const bool every_second = one_in(10);
    const auto interval = static_cast<std::int64_t>(one_in(2) ? between(1, 5000) : between(1, 5'000'000));
    d.start_interval = d.cron ? core::DurationText{.text = cron(every_second)}
                              : core::DurationText{std::to_string(interval), seconds(interval)};
    if (one_in(4)) d.start_time = now + between(-500'000, 500'000);
    if (one_in(5)) d.end_time = std::max(d.start_time, now) + between(0, 1'000'000);
    if (one_in(4) && !every_second && (d.cron || interval > 30))
      d.daily_limitation = core::DailyLimitation{between(0, 86399), between(0, 86399)};

    boost::json::object out{{"zone", name}, {"now", now}, {"schedule", d.start_interval->text}, {"cron", d.cron}};
    if (d.start_time != 0) out["start_time"] = d.start_time;
    if (d.end_time != 0) out["end_time"] = d.end_time;
    if (d.daily_limitation) out["daily"] = {d.daily_limitation->daily_start, d.daily_limitation->daily_end};
    const auto starts = core::preview(d, 5, core::WallTime(seconds(now)), zone);
    out["next"] = boost::json::array(starts->begin(), starts->end());
    return out;
  }

 private:
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  bool one_in(std::int64_t n) { return between(1, n) == 1; }
  template <typename List>
  const char* pick(const List& list) {
    return list[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(list.size()) - 1))];
  }

  // Of the years 1971 to 2099; every other one is near a change of the clock.
  std::int64_t instant(const core::Zone& zone) {
    constexpr std::int64_t kFirst = 31'536'000;
    constexpr std::int64_t kLast = 4'070'908'800;
    const std::int64_t any = between(kFirst, kLast);
    if (!zone.rules || one_in(2)) return any;
    const auto& changes = zone.rules->changes;
    const auto& change = changes[static_cast<std::size_t>(between(0, static_cast<std::int64_t>(changes.size()) - 1))];
    if (change.at < kFirst || change.at > kLast) return any;
    return change.at + (one_in(2) ? between(-5000, 5000) : between(-100'000, 100'000));
  }

  std::string value(int low, int high) {
    if (high == 12 && one_in(2)) return pick(kMonths);
    if (high == 7 && one_in(2)) return pick(kWeekdays);
    return std::to_string(between(low, high));
  }
  std::string item(int low, int high) {
    const auto step = [&] { return fmt::format("/{}", between(1, std::max(2, (high - low) / 2))); };
    switch (between(0, 5)) {
      case 0:
        return "*" + step();
      case 1: {
        const auto first = between(low, high);
        return fmt::format("{}-{}{}", first, between(first, high), one_in(2) ? step() : "");
      }
      case 2:
        return std::to_string(between(low, high)) + step();
      default:
        return value(low, high);
    }
  }
  std::string field(int low, int high, std::int64_t any_in) {
    if (one_in(any_in)) return high == 31 || high == 7 ? (one_in(2) ? "?" : "*") : "*";
    std::string list = item(low, high);
    while (one_in(3)) list += "," + item(low, high);
    return list;
  }
  std::string cron(bool every_second) {
    for (;;) {
      std::string text = every_second ? field(0, 59, 2) + " " : one_in(3) ? std::to_string(between(0, 59)) + " " : "";
      text += field(0, 59, 4) + " " + field(0, 23, 2) + " ";
      std::string days = one_in(8) ? "L" : field(1, 31, 2);
      std::string weekdays = one_in(8) ? "L" : field(0, 7, 2);
      if (one_in(8)) {
        days = "*";
        weekdays = fmt::format("{}L", between(0, 7));
      }
      text += days + " " + field(1, 12, 2) + " " + weekdays;
      if (core::parse_cron(text)) return text;
    }
  }

  std::mt19937_64 random_;
};

}  // namespace
}  // namespace appmesh::simulation

int main(int count_of_arguments, char** arguments) {
  if (count_of_arguments != 3) return std::fputs("schedule_cases <seed> <count>\n", stderr), 2;
  appmesh::simulation::Cases cases(std::strtoull(arguments[1], nullptr, 10));
  for (auto left = std::strtoull(arguments[2], nullptr, 10); left > 0; --left)
    std::puts(boost::json::serialize(cases.next()).c_str());
}

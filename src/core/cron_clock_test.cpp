#include "core/cron_clock.h"

#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

using namespace std::chrono;
using ::testing::ElementsAre;

// A clock that is set by `change` once, at `when` (UTC), and was `before` ahead of UTC until then.
Zone changed(sys_seconds when, seconds before, seconds change) {
  ZoneRules rules{.first_offset_seconds = static_cast<std::int32_t>(before.count())};
  rules.changes.push_back({when.time_since_epoch().count(), static_cast<std::int32_t>((before + change).count())});
  return {.utc_offset = {}, .rules = std::make_shared<ZoneRules>(rules)};
}

sys_seconds utc(int y, unsigned m, unsigned d, int hour = 0, int minute = 0) {
  return sys_days(year(y) / month(m) / day(d)) + hours(hour) + minutes(minute);
}

// What a clock on the wall shows at each of the next instants.
std::vector<std::string> shown(std::string_view text, sys_seconds after, const Zone& zone, int count) {
  const auto cron = parse_cron(text).value();
  std::vector<std::string> out;
  for (int i = 0; i < count; ++i) {
    after = next_instant(cron, after, zone).value();
    const auto of_day = hh_mm_ss(zone.to_local(after) - floor<days>(zone.to_local(after)));
    out.push_back(fmt::format("{:02}:{:02}", of_day.hours().count(), of_day.minutes().count()));
  }
  return out;
}

// 29 March 2026: 02:00 becomes 03:00 (Berlin); 5 April: 02:00 becomes 01:30 (Lord Howe).
const Zone kSpring = changed(utc(2026, 3, 29, 1), hours(1), hours(1));
const Zone kAutumn = changed(utc(2026, 10, 25, 1), hours(2), -hours(1));
const Zone kHalfHour = changed(utc(2026, 10, 3, 15, 30), hours(10) + minutes(30), minutes(30));
const sys_seconds kSpringNight = utc(2026, 3, 29, 0, 10);    // 01:10
const sys_seconds kAutumnNight = utc(2026, 10, 24, 23, 10);  // 01:10

TEST(CronClockTest, WhatComesEveryHourComesOnceAnHourWhenAnHourIsLeftOut) {
  EXPECT_THAT(shown("30 * * * *", kSpringNight, kSpring, 3), ElementsAre("01:30", "03:30", "04:30"));
  EXPECT_THAT(shown("30 0-23 * * *", kSpringNight, kSpring, 2), ElementsAre("01:30", "03:30"));
  EXPECT_THAT(shown("5/30 * * * *", kSpringNight, kSpring, 3), ElementsAre("01:35", "03:05", "03:35"));
  EXPECT_THAT(shown("0 * * * *", kSpringNight, kSpring, 2), ElementsAre("03:00", "04:00"));
  EXPECT_THAT(shown("15 * * * *", utc(2026, 10, 3, 14), kHalfHour, 3), ElementsAre("01:15", "03:15", "04:15"));
}

TEST(CronClockTest, WhatNamesItsHoursLosesNoneToAGap) {
  EXPECT_THAT(shown("30 2 * * *", kSpringNight, kSpring, 2), ElementsAre("03:00", "02:30"));
  EXPECT_THAT(shown("30 1,2,3 * * *", kSpringNight, kSpring, 3), ElementsAre("01:30", "03:00", "03:30"));
  EXPECT_THAT(shown("0 */2 * * *", kSpringNight, kSpring, 2), ElementsAre("03:00", "04:00"));
  EXPECT_THAT(shown("*/20 2 * * *", kSpringNight, kSpring, 2), ElementsAre("03:00", "02:00"))
      << "once, not three times";
  EXPECT_THAT(shown("15 2 * * *", utc(2026, 10, 3, 14), kHalfHour, 2), ElementsAre("02:30", "02:15"));
}

TEST(CronClockTest, WhatComesEveryHourComesEachTimeTheClockShowsIt) {
  EXPECT_THAT(shown("30 * * * *", kAutumnNight, kAutumn, 4), ElementsAre("01:30", "02:30", "02:30", "03:30"));
}

TEST(CronClockTest, WhatNamesItsHoursIsNotDoubledByAnOverlap) {
  EXPECT_THAT(shown("30 2 * * *", kAutumnNight, kAutumn, 2), ElementsAre("02:30", "02:30"));
  const auto cron = parse_cron("30 2 * * *").value();
  const auto first = next_instant(cron, kAutumnNight, kAutumn).value();
  EXPECT_EQ(first, utc(2026, 10, 25, 0, 30));
  EXPECT_EQ(next_instant(cron, first, kAutumn).value(), utc(2026, 10, 26, 1, 30));
}

// The count is a calculation, the instants are a search: over changes of every size, month ends and leap days they
// agree.
TEST(CronClockTest, TheCountIsThatOfTheInstants) {
  std::mt19937 random(11);  // NOLINT(cert-msc51-cpp): the same cases each time
  const auto below = [&](int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random); };
  const auto any_of = [&](std::initializer_list<const char*> words) {
    return *(words.begin() + below(static_cast<int>(words.size())));
  };
  for (int i = 0; i < 3000; ++i) {
    const std::string text =
        fmt::format("{} {} {} {} {} {}", any_of({"0", "30", "15,45"}), any_of({"0", "30", "*/20", "59"}),
                    any_of({"*", "2", "1-3", "*/2", "0", "23", "3,2", "0-23"}), any_of({"*", "L", "1", "29", "28-31"}),
                    any_of({"*", "2", "3,10", "*/2"}), any_of({"*", "*", "SUN", "5L", "MON-FRI"}));
    const auto cron = parse_cron(text);
    if (!cron) continue;
    const sys_seconds when =
        utc(2026 + below(4), 1 + static_cast<unsigned>(below(12)), 1) + days(below(31)) + hours(below(24));
    const seconds change =
        minutes(std::array{60, -60, 30, -30, 1440, -1440, 120, -180}[static_cast<std::size_t>(below(8))]);
    const Zone zone = changed(when, hours(below(24) - 12), change);
    const sys_seconds after = when + seconds(below(400'000) - 300'000);
    const sys_seconds until = after + seconds(below(3) == 0 ? below(40'000'000) : below(400'000));
    std::uint64_t count = 0;
    std::optional<sys_seconds> next = after;
    while (count < 5000 && (next = next_instant(*cron, *next, zone)) && *next <= until) ++count;
    if (count == 5000) continue;
    ASSERT_EQ(count_instants(*cron, after, until, zone), count)
        << text << " change " << change.count() << " at " << when.time_since_epoch().count() << " from "
        << after.time_since_epoch().count() << " until " << until.time_since_epoch().count();
  }
}

}  // namespace
}  // namespace appmesh::core

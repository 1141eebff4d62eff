#include "core/cron.h"

#include <random>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

using namespace std::chrono;

local_seconds at(int y, unsigned m, unsigned d, int hour = 0, int minute = 0, int second = 0) {
  return local_days(year(y) / month(m) / day(d)) + hours(hour) + minutes(minute) + seconds(second);
}

local_seconds next(std::string_view text, local_seconds after) {
  const auto cron = parse_cron(text);
  EXPECT_TRUE(cron) << text;
  return next_local(*cron, after).value_or(local_seconds{});
}

std::string error_of(std::string_view text) {
  const auto cron = parse_cron(text);
  return cron ? "" : cron.error().message;
}

TEST(CronTest, FiveFieldsStartAtSecondZero) {
  EXPECT_TRUE(parse_cron("30 4 * * *").value() == parse_cron("0 30 4 * * *").value());
  EXPECT_EQ(next("30 4 * * *", at(2026, 1, 31, 5)), at(2026, 2, 1, 4, 30));
}

TEST(CronTest, NextIsStrictlyAfter) {
  EXPECT_EQ(next("* * * * * *", at(2026, 1, 1)), at(2026, 1, 1, 0, 0, 1));
  EXPECT_EQ(next("0 0 * * *", at(2026, 12, 31)), at(2027, 1, 1));
}

TEST(CronTest, StepsRangesListsAndNames) {
  EXPECT_EQ(next("*/15 * * * *", at(2026, 1, 1, 0, 31)), at(2026, 1, 1, 0, 45));
  EXPECT_EQ(next("0 9-17/4 * * mon-fri", at(2026, 11, 20, 17)), at(2026, 11, 23, 9));
  EXPECT_EQ(next("0 0 1,15 jan,jul ?", at(2026, 1, 16)), at(2026, 7, 1));
  EXPECT_EQ(next("20/20 0 0 * * *", at(2026, 1, 1, 0, 0, 20)), at(2026, 1, 1, 0, 0, 40));
  EXPECT_TRUE(parse_cron("0 0 * * 7").value() == parse_cron("0 0 * * SUN").value());
}

TEST(CronTest, LIsTheLastDay) {
  EXPECT_EQ(next("0 0 L * *", at(2028, 2, 1)), at(2028, 2, 29));
  EXPECT_EQ(next("0 0 L * *", at(2026, 2, 1)), at(2026, 2, 28));
  EXPECT_EQ(next("0 0 * * 5L", at(2026, 11, 1)), at(2026, 11, 27));
}

TEST(CronTest, DayAndWeekdayMustBothMatch) {
  EXPECT_EQ(next("0 0 13 * FRI", at(2026, 4, 1)), at(2026, 11, 13));
}

TEST(CronTest, LeapDaysAreFoundAcrossACenturyWithoutOne) {
  EXPECT_EQ(next("0 0 29 2 *", at(2096, 3, 1)), at(2104, 2, 29));
  EXPECT_EQ(next("0 0 29 2 MON", at(2096, 3, 1)), at(2112, 2, 29));
}

TEST(CronTest, ErrorsNameTheFieldAndTheReason) {
  EXPECT_EQ(error_of("* * *"), "cron expression has 3 fields, not 5 or 6");
  EXPECT_EQ(error_of("60 * * * *"), "cron minute: 60 is not in 0..59");
  EXPECT_EQ(error_of("x * * * *"), "cron minute: 'X' is not a value");
  EXPECT_EQ(error_of("*/0 * * * *"), "cron minute: '0' is not a step in 1..59");
  EXPECT_EQ(error_of("5-1 * * * *"), "cron minute: range '5-1' runs backwards");
  EXPECT_EQ(error_of("0 0 30 2 *"), "cron expression never comes: none of its months has such a day");
  EXPECT_EQ(
      error_of("0 0 1 * 5L"),
      "cron expression never comes: in its months no date has such a day of month and such a day of week together");
  EXPECT_THAT(error_of("@reboot"), ::testing::HasSubstr("@hourly"));
  EXPECT_THAT(error_of("@daily 1"), ::testing::HasSubstr("@daily"));
  EXPECT_FALSE(error_of(", * * * *").empty());
  EXPECT_FALSE(error_of("? * * * *").empty());
  EXPECT_FALSE(error_of("-1 * * * *").empty());
  EXPECT_FALSE(error_of("99999999999 * * * *").empty());
  EXPECT_FALSE(error_of(std::string(300, '*')).empty());
}

TEST(CronTest, NicknamesAndAWeekThatEndsWithSunday) {
  EXPECT_TRUE(parse_cron("@Daily").value() == parse_cron("0 0 * * *").value());
  EXPECT_TRUE(parse_cron(" @hourly ").value() == parse_cron("0 * * * *").value());
  EXPECT_TRUE(parse_cron("@weekly").value() == parse_cron("0 0 * * 0").value());
  EXPECT_TRUE(parse_cron("@monthly").value() == parse_cron("0 0 1 * *").value());
  EXPECT_TRUE(parse_cron("@annually").value() == parse_cron("@yearly").value());
  EXPECT_TRUE(parse_cron("0 0 * * FRI-SUN").value() == parse_cron("0 0 * * 0,5,6").value());
}

// Every date of the calendar, once: it repeats itself after 400 years, whose first day is the same weekday again.
TEST(CronTest, WhatEverComesIsAcceptedAndWhatNeverComesIsRefused) {
  std::mt19937 random(20);  // NOLINT(cert-msc51-cpp): the same cases each time
  const auto below = [&](int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random); };
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string days = below(5) == 0 ? "L" : std::to_string(1 + below(31));
    const std::string months = below(3) == 0 ? "*" : std::to_string(1 + below(12));
    const std::string weekday = std::to_string(below(7));
    const std::string text = fmt::format("0 0 {} {} {}", days, months, below(2) == 0 ? weekday + "L" : weekday);
    bool comes = false;
    for (local_days day(year(2000) / 1 / 1); !comes && day < local_days(year(2400) / 1 / 1);
         day += std::chrono::days(1)) {
      const year_month_day date(day);
      const unsigned length = static_cast<unsigned>((date.year() / date.month() / last).day());
      const unsigned number = static_cast<unsigned>(date.day());
      comes = (days == "L" ? number == length : std::to_string(number) == days) &&
              (months == "*" || months == std::to_string(static_cast<unsigned>(date.month()))) &&
              std::chrono::weekday(day).c_encoding() == static_cast<unsigned>(std::stoi(weekday)) &&
              (!text.ends_with('L') || number + 7 > length);
    }
    EXPECT_EQ(parse_cron(text).has_value(), comes) << text;
    refused += comes ? 0 : 1;
    if (comes) EXPECT_TRUE(next_local(*parse_cron(text), at(2026, 1, 1))) << text;
  }
  EXPECT_GT(refused, 20);
}

// The straightforward reading of an expression, second by second.
bool matches(const CronExpression& cron, local_seconds t) {
  const auto day = floor<days>(t);
  const auto of_day = (t - day).count();
  return cron.matches_day(year_month_day(day)) && cron.hours.test(of_day / 3600) &&
         cron.minutes.test(of_day / 60 % 60) && cron.seconds.test(of_day % 60);
}

TEST(CronTest, AgreesWithASearchSecondBySecond) {
  for (const char* text : {"7-40/11 */17 3,22 * * *", "0 59 23 L * ?", "30 */7 */5 */3 * MON-WED"}) {
    const auto cron = parse_cron(text);
    ASSERT_TRUE(cron);
    local_seconds t = at(2028, 2, 27);
    for (int i = 0; i < 40; ++i) {
      const auto found = next_local(*cron, t);
      ASSERT_TRUE(found);
      local_seconds slow = t + seconds(1);
      const local_seconds limit = t + days(2);
      while (slow < limit && !matches(*cron, slow)) slow += seconds(1);
      if (slow < limit)
        EXPECT_EQ(*found, slow) << text;
      else
        EXPECT_GE(*found, limit) << text;
      t = *found;
    }
  }
}

}  // namespace
}  // namespace appmesh::core

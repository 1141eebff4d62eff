#include "core/schedule.h"

#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

using std::chrono::seconds;

constexpr std::int64_t kDay = 86400;
WallTime at(std::int64_t second) {
  return WallTime(seconds(second));
}

AppDefinition every(int interval) {
  return {.start_interval = DurationText{std::to_string(interval), seconds(interval)}, .register_time = 99};
}

TEST(ScheduleTest, AContinuousAppIsDueInsideItsRange) {
  const AppDefinition d{.start_time = 100, .end_time = 200};
  EXPECT_EQ(next_due(d, at(50), {}), at(100));
  EXPECT_EQ(next_due(d, at(150), {}), at(150));
  EXPECT_EQ(next_due(d, at(200), {}), std::nullopt);
  EXPECT_EQ(next_due({}, at(7), {}), at(7));
}

TEST(ScheduleTest, AnIntervalIsAGridFromStartTime) {
  AppDefinition d = every(60);
  d.start_time = 1000;
  EXPECT_EQ(next_due(d, at(0), {}), at(1000));
  EXPECT_EQ(next_due(d, at(1000), {}), at(1060));
  EXPECT_EQ(next_due(d, at(1059), {}), at(1060));
  d.end_time = 1060;
  EXPECT_EQ(next_due(d, at(1000), {}), std::nullopt);
}

TEST(ScheduleTest, WithoutStartTimeTheGridStartsASecondAfterRegistration) {
  EXPECT_EQ(next_due(every(60), at(99), {}), at(100));
  EXPECT_EQ(next_due(every(60), at(100), {}), at(160));
}

TEST(ScheduleTest, CronIsReadInItsZone) {
  AppDefinition d{.start_interval = DurationText{.text = "0 8 * * *"}, .cron = true};
  EXPECT_EQ(next_due(d, at(0), {}), at(8 * 3600));
  EXPECT_EQ(next_due(d, at(0), {seconds(8 * 3600)}), at(kDay));
  d.start_time = 10 * kDay + 8 * 3600;
  EXPECT_EQ(next_due(d, at(0), {}), at(d.start_time));
}

TEST(ScheduleTest, DailyWindowsOpenAndClose) {
  AppDefinition d{.daily_limitation = DailyLimitation{3600, 7200}};
  EXPECT_EQ(next_opening(d, at(0)), at(3600));
  EXPECT_EQ(next_opening(d, at(3600)), at(3600));
  EXPECT_EQ(next_opening(d, at(7200)), at(kDay + 3600));
  EXPECT_EQ(window_close(d, at(4000)), at(7200));
  EXPECT_EQ(window_close(d, at(7200)), at(7200));
  d.daily_limitation = DailyLimitation{79200, 3600};
  EXPECT_EQ(next_opening(d, at(3599)), at(3599));
  EXPECT_EQ(next_opening(d, at(3600)), at(79200));
  EXPECT_EQ(window_close(d, at(80000)), at(kDay + 3600));
  d.daily_limitation = DailyLimitation{5, 5};
  EXPECT_EQ(next_opening(d, at(7)), at(7));
  EXPECT_EQ(window_close(d, at(7)), std::nullopt);
}

TEST(ScheduleTest, AnOccurrenceOutsideTheDailyWindowMovesToItsOpening) {
  AppDefinition d = every(1800);
  d.start_time = 1800;
  d.daily_limitation = DailyLimitation{3 * 3600 + 60, 4 * 3600};
  EXPECT_EQ(next_due(d, at(0), {}), at(3 * 3600 + 60));
  EXPECT_EQ(next_due(d, at(3 * 3600 + 60), {}), at(3 * 3600 + 1800));
}

TEST(ScheduleTest, MissedOccurrencesAreCounted) {
  EXPECT_EQ(occurrences_between(every(60), at(100), at(399), {}), 4U);
  EXPECT_EQ(occurrences_between(every(60), at(90), at(100), {}), 1U);
  EXPECT_EQ(occurrences_between(every(1), at(100), at(100'000'000), {}), 99'999'900U) << "however many they are";
  const AppDefinition each_second{.start_interval = DurationText{.text = "* * * * * *"}, .cron = true};
  EXPECT_EQ(occurrences_between(each_second, at(0), at(100'000'000), {}), 100'000'000U);
  AppDefinition ends = every(60);
  ends.end_time = 200;
  EXPECT_EQ(occurrences_between(ends, at(100), at(100'000), {}), 1U) << "none comes at the end or later";
  EXPECT_EQ(occurrences_between(every(1), at(0), at(253'402'300'799), {}), 36525U * kDay) << "of a century at most";
}

// The count is a calculation; planning one occurrence after the other is the plain reading of the contract.
TEST(ScheduleTest, TheCountIsThatOfThePlannedOccurrences) {
  std::mt19937_64 random(16);  // NOLINT(cert-msc51-cpp): the same cases each time
  const auto below = [&](std::int64_t limit) {
    return std::uniform_int_distribution<std::int64_t>(0, limit - 1)(random);
  };
  for (int i = 0; i < 3000; ++i) {
    AppDefinition d = every(static_cast<int>(1 + below(3) * 5000 + below(2000)));
    if (below(3) == 0) d = {.start_interval = DurationText{.text = "0 */7 1-5,20 * * *"}, .cron = true};
    if (below(3) == 0) d.start_time = below(3 * kDay);
    if (below(4) == 0) d.end_time = d.start_time + below(3 * kDay);
    if (below(2) == 0) d.daily_limitation = DailyLimitation{below(kDay), below(kDay)};
    if (below(9) == 0) d.daily_limitation = DailyLimitation{3600, below(2) == 0 ? 3600 : 3601};
    const WallTime start = next_occurrence(d, at(below(3 * kDay)), {}).value_or(at(5));
    const WallTime until = start + seconds(below(4 * kDay)) + std::chrono::microseconds(below(1'000'000));
    std::uint64_t count = 0;
    WallTime last = start;
    for (auto next = next_occurrence(d, start, {}); count < 100'000 && next && *next <= until; ++count) {
      EXPECT_TRUE(is_occurrence(d, *next, {}));
      last = *next;
      next = next_occurrence(d, *next, {});
    }
    ASSERT_EQ(occurrences_between(d, start, until, {}), count) << i << " last " << epoch_seconds(last);
  }
}

TEST(ScheduleTest, AnOccurrenceThatMovedToItsOpeningIsOne) {
  AppDefinition d = every(1800);
  d.start_time = 1800;
  d.daily_limitation = DailyLimitation{3 * 3600 + 60, 4 * 3600};
  EXPECT_TRUE(is_occurrence(d, at(3 * 3600 + 60), {}));
  EXPECT_TRUE(is_occurrence(d, at(3 * 3600 + 1800), {}));
  EXPECT_FALSE(is_occurrence(d, at(3 * 3600 + 61), {}));
  EXPECT_FALSE(is_occurrence(d, at(5 * 3600), {})) << "the window is closed then";
  d.start_time = 3 * 3600 + 120;
  EXPECT_FALSE(is_occurrence(d, at(3 * 3600 + 60), {})) << "none came before that opening";
}

TEST(ScheduleTest, APreviewShowsWhatWillBePlanned) {
  using ::testing::ElementsAre;
  AppDefinition d = every(60);
  d.end_time = 300;
  EXPECT_THAT(preview(d, 10, at(150), {}).value(), ElementsAre(160, 220, 280));
  EXPECT_THAT(preview(d, 2, at(150), {}).value(), ElementsAre(160, 220));
  d.register_time = 0;  // not registered yet: as if it were now
  d.end_time = 0;
  EXPECT_THAT(preview(d, 2, at(150), {}).value(), ElementsAre(151, 211));
}

TEST(ScheduleTest, APreviewOfAContinuousAppShowsItsWindows) {
  using ::testing::ElementsAre;
  AppDefinition d;
  EXPECT_THAT(preview(d, 3, at(150), {}).value(), ElementsAre(150));
  d.daily_limitation = DailyLimitation{3600, 7200};
  EXPECT_THAT(preview(d, 3, at(4000), {}).value(), ElementsAre(4000, kDay + 3600, 2 * kDay + 3600));
  d.end_time = kDay;
  EXPECT_THAT(preview(d, 3, at(4000), {}).value(), ElementsAre(4000));
  EXPECT_THAT(preview(d, 3, at(8000), {}).value(), ElementsAre());
}

TEST(ScheduleTest, APreviewHasALimit) {
  for (const std::int64_t count : {-1, 0, 1001})
    EXPECT_EQ(preview(every(1), count, at(0), {}).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(preview(every(1), 1000, at(0), {})->size(), 1000U);
  AppDefinition d = every(1);
  d.start_interval = DurationText{"P1000Y", std::chrono::days(365 * 1000)};
  EXPECT_LT(preview(d, 1000, at(0), {})->size(), 12U) << "nobody plans past the year 9999";
}

}  // namespace
}  // namespace appmesh::core

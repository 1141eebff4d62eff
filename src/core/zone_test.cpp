// Local time around the changes of a clock, and cron expressions in it.
#include "core/zone.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/schedule.h"

namespace appmesh::core {
namespace {

using std::chrono::hours;
using std::chrono::local_seconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using ::testing::ElementsAre;

constexpr std::int64_t kSpring = 1'679'792'400;  // 2023-03-26 01:00 UTC: 02:00 becomes 03:00 in Berlin
constexpr std::int64_t kAutumn = 1'698'541'200;  // 2023-10-29 01:00 UTC: 03:00 becomes 02:00
constexpr std::int64_t kDay = 86400;

Zone berlin() {
  return {.rules = std::make_shared<ZoneRules>(
              ZoneRules{.first_offset_seconds = 3600, .changes = {{kSpring, 7200}, {kAutumn, 3600}}})};
}
// Seconds from `from` to the next starts of a cron expression.
std::vector<std::int64_t> next(std::string text, std::int64_t from, int count, const Zone& zone = berlin()) {
  const AppDefinition d{.start_interval = DurationText{.text = std::move(text)}, .cron = true};
  auto starts = preview(d, count, WallTime(seconds(from)), zone).value();
  for (auto& start : starts) start -= from;
  return starts;
}
local_seconds local(std::int64_t at) {
  return local_seconds(seconds(at));
}

TEST(ZoneTest, AFixedOffsetIsAlwaysTheSame) {
  const Zone zone{hours(8)};
  EXPECT_EQ(zone.offset_at(sys_seconds{}), hours(8));
  EXPECT_EQ(zone.to_utc(local(0)), sys_seconds(-hours(8)));
  EXPECT_FALSE(zone.stretch_at(sys_seconds{}).end);
}

TEST(ZoneTest, EachStretchHasItsOffset) {
  const Zone zone = berlin();
  EXPECT_EQ(zone.offset_at(sys_seconds(seconds(kSpring - 1))), hours(1));
  EXPECT_EQ(zone.offset_at(sys_seconds(seconds(kSpring))), hours(2));
  EXPECT_EQ(zone.offset_at(sys_seconds(seconds(kAutumn))), hours(1));
  EXPECT_EQ(zone.stretch_at(sys_seconds(seconds(kAutumn))).offset_before, hours(2));
}

TEST(ZoneTest, ALocalTimeInsideAGapIsTheFirstInstantAfterIt) {
  EXPECT_EQ(berlin().to_utc(local(kSpring + 3600 + 1800)), sys_seconds(seconds(kSpring)));
  EXPECT_EQ(berlin().to_utc(local(kSpring + 7200)), sys_seconds(seconds(kSpring)));
  EXPECT_EQ(berlin().to_utc(local(kSpring + 7201)), sys_seconds(seconds(kSpring + 1)));
}

TEST(ZoneTest, ALocalTimeThatComesTwiceIsTheFirst) {
  EXPECT_EQ(berlin().to_utc(local(kAutumn + 3600)), sys_seconds(seconds(kAutumn - 3600)));
  EXPECT_EQ(berlin().to_utc(local(kAutumn + 7200)), sys_seconds(seconds(kAutumn + 3600)));
}

TEST(ZoneTest, ADailyRunInsideTheGapRunsAfterItAndOnlyThatDay) {
  EXPECT_THAT(next("30 2 * * *", kSpring - 7200, 3), ElementsAre(7200, kDay + 7200 - 1800, 2 * kDay + 7200 - 1800));
  EXPECT_THAT(next("30 2 * * *", kSpring - 1, 1), ElementsAre(1));
  EXPECT_THAT(next("30 2 * * *", kSpring, 1), ElementsAre(kDay - 1800));
}

TEST(ZoneTest, ADailyRunAtTheEndOfTheGapIsNotDoubled) {
  EXPECT_THAT(next("0 2,3 * * *", kSpring - 1, 2), ElementsAre(1, kDay - 3600 + 1));
}

TEST(ZoneTest, ADailyRunInTheHourThatComesTwiceRunsOnce) {
  EXPECT_THAT(next("30 2 * * *", kAutumn - 7200, 2), ElementsAre(7200 - 1800, 7200 + kDay + 1800));
  EXPECT_THAT(next("30 2 * * *", kAutumn + 60, 1), ElementsAre(kDay + 1800 - 60)) << "from within the second pass";
  EXPECT_THAT(next("*/20 2 * * *", kAutumn - 3600, 3), ElementsAre(1200, 2400, 3600 + kDay));
}

TEST(ZoneTest, WhatRunsEveryHourHasNoHoleWhenAnHourComesTwice) {
  EXPECT_THAT(next("0 * * * *", kAutumn - 5400, 4), ElementsAre(1800, 5400, 9000, 12600));
  EXPECT_THAT(next("*/30 * * * *", kAutumn - 3600, 4), ElementsAre(1800, 3600, 5400, 7200));
}

TEST(ZoneTest, WhatRunsEveryMinuteRunsOnceAtTheEndOfAGap) {
  EXPECT_THAT(next("* * * * *", kSpring - 61, 3), ElementsAre(1, 61, 121));
}

TEST(ZoneTest, ADayThatWasLeftOutRunsAtTheStartOfTheNext) {
  // Samoa left out 2011-12-30: at 10:00 UTC of the 30th its clock went from the end of the 29th to the 31st.
  constexpr std::int64_t kSkip = 1'325'239'200;
  const Zone samoa{.rules = std::make_shared<ZoneRules>(
                       ZoneRules{.first_offset_seconds = -10 * 3600, .changes = {{kSkip, 14 * 3600}}})};
  EXPECT_THAT(next("0 9 * * *", kSkip - kDay, 3, samoa), ElementsAre(9 * 3600, kDay, kDay + 9 * 3600));
}

}  // namespace
}  // namespace appmesh::core

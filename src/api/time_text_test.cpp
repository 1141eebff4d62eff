#include "api/time_text.h"

#include <gtest/gtest.h>

#include "platform/time_zone.h"

namespace appmesh::api {
namespace {

constexpr core::WallTime kInstant{std::chrono::seconds(1'700'000'000)};  // 2023-11-14T22:13:20Z

TimeText in(std::string_view zone) {
  return TimeText(platform::load_zone(zone).value());
}

TEST(TimeText, ShowsLocalTimeWithItsOffset) {
  EXPECT_EQ(in("+08")(kInstant), "2023-11-15T06:13:20+08");
  EXPECT_EQ(in("+05:30")(kInstant), "2023-11-15T03:43:20+05:30");
  EXPECT_EQ(in("-03:30")(kInstant), "2023-11-14T18:43:20-03:30");
  EXPECT_EQ(in("+00")(kInstant), "2023-11-14T22:13:20+00");
}

TEST(TimeText, ShowsSecondsOfAUtcDayInTheZone) {
  EXPECT_EQ(in("+08").time_of_day(0), "08:00:00+08");
  EXPECT_EQ(in("+08").time_of_day(20 * 3600 + 61), "04:01:01+08");
  EXPECT_EQ(in("-03:30").time_of_day(3600), "21:30:00-03:30");
}

TEST(TimeText, KnowsTheClockChangesOfANamedZone) {
  EXPECT_EQ(in("Europe/Berlin")(kInstant), "2023-11-14T23:13:20+01");
  EXPECT_EQ(in("Europe/Berlin")(core::WallTime(std::chrono::seconds(1'690'000'000))), "2023-07-22T06:26:40+02");
}

}  // namespace
}  // namespace appmesh::api

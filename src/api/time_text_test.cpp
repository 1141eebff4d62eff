#include "api/time_text.h"

#include <gtest/gtest.h>

namespace appmesh::api {
namespace {

constexpr core::WallTime kInstant{std::chrono::seconds(1'700'000'000)};  // 2023-11-14T22:13:20Z

TEST(TimeText, ShowsLocalTimeWithItsOffset) {
  EXPECT_EQ(TimeText("+08")(kInstant), "2023-11-15T06:13:20+08");
  EXPECT_EQ(TimeText("+05:30")(kInstant), "2023-11-15T03:43:20+05:30");
  EXPECT_EQ(TimeText("-03:30")(kInstant), "2023-11-14T18:43:20-03:30");
  EXPECT_EQ(TimeText("+00")(kInstant), "2023-11-14T22:13:20+00");
}

TEST(TimeText, ShowsSecondsOfAUtcDayInTheZone) {
  EXPECT_EQ(TimeText("+08").time_of_day(0), "08:00:00+08");
  EXPECT_EQ(TimeText("+08").time_of_day(20 * 3600 + 61), "04:01:01+08");
  EXPECT_EQ(TimeText("-03:30").time_of_day(3600), "21:30:00-03:30");
}

}  // namespace
}  // namespace appmesh::api

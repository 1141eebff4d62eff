#include "core/duration.h"

#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

std::int64_t seconds_of(std::string_view text) {
  const auto parsed = parse_duration(text);
  return parsed ? parsed->count() : -1;
}

TEST(DurationTest, ReadsSecondsAndIsoDurations) {
  EXPECT_EQ(seconds_of("0"), 0);
  EXPECT_EQ(seconds_of("90"), 90);
  EXPECT_EQ(seconds_of("PT5M"), 300);
  EXPECT_EQ(seconds_of("P1D"), 86400);
  EXPECT_EQ(seconds_of("P2W"), 1209600);
  EXPECT_EQ(seconds_of("P1Y"), 31536000);
  EXPECT_EQ(seconds_of("P1DT2H3M4S"), 93784);
  EXPECT_EQ(seconds_of("P2DT12H"), 216000);
  EXPECT_EQ(seconds_of("PT0S"), 0);
}

TEST(DurationTest, RefusesWhatHasNoFixedLengthOrIsMalformed) {
  for (const char* text :
       {"",       "P",   "PT",    "P1DT", "-1",  "-PT1S", "1.5", "PT1.5S", "5m",  "P1M", "P1WT1H", "PT1H2H",
        "PT1S1M", "P1H", "PTT1S", "P1",   "PT1", " 1",    "1 ",  "pt1s",   "P1S", "T1S", "PxD",    "+1"})
    EXPECT_EQ(seconds_of(text), -1) << text;
}

TEST(DurationTest, RefusesWhatIsTooLong) {
  for (const char* text : {"99999999999999999999", "31536000001", "P1001Y", "P999999999999999999W",
                           "PT99999999999999999999999999H", "P1000YT1S"})
    EXPECT_EQ(seconds_of(text), -1) << text;
  EXPECT_EQ(seconds_of("P1000Y"), 31536000000);
}

}  // namespace
}  // namespace appmesh::core

#include "platform/time_zone.h"

#include <cstdlib>
#include <ctime>
#include <optional>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "platform/file.h"

namespace appmesh::platform {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;

// The environment of this process for one test: the C library and load_zone("") both look at TZ.
class TimeZoneVariable {
 public:
  explicit TimeZoneVariable(const char* value) {
    if (const char* old = std::getenv("TZ")) old_ = old;
    value == nullptr ? ::unsetenv("TZ") : ::setenv("TZ", value, 1);
    ::tzset();
  }
  ~TimeZoneVariable() {
    old_ ? ::setenv("TZ", old_->c_str(), 1) : ::unsetenv("TZ");
    ::tzset();
  }
  TimeZoneVariable(const TimeZoneVariable&) = delete;
  TimeZoneVariable& operator=(const TimeZoneVariable&) = delete;

 private:
  std::optional<std::string> old_;
};

seconds c_library_offset(std::int64_t at) {
  const std::time_t time = at;
  std::tm local{};
  ::localtime_r(&time, &local);
  return seconds(local.tm_gmtoff);
}

TEST(TimeZoneTest, OffsetsAreReadAsTheyAreWritten) {
  EXPECT_EQ(load_zone("+08")->utc_offset, hours(8));
  EXPECT_EQ(load_zone("+05:30")->utc_offset, hours(5) + minutes(30));
  EXPECT_EQ(load_zone("-03:30")->utc_offset, -hours(3) - minutes(30));
  EXPECT_EQ(load_zone("+0")->utc_offset, seconds(0));
}

TEST(TimeZoneTest, WhatIsNoZoneIsRefused) {
  for (const char* name :
       {"+", "+15", "+08:60", "+08:", "+8:0:0", "+-8", "/etc/passwd", "../../etc/passwd", "a b", "Europe"})
    EXPECT_FALSE(load_zone(name)) << name;
  EXPECT_EQ(load_zone("Europe/Atlantis").error().kind, ErrorKind::not_found);
  EXPECT_NE(load_zone("Europe/Atlantis").error().message.find("Europe/Atlantis"), std::string::npos);
}

TEST(TimeZoneTest, ZonesAgreeWithTheCLibrary) {
  for (const char* name :
       {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Europe/Dublin",
        "Africa/Casablanca", "Pacific/Apia", "America/Nuuk", "Asia/Tehran", "Etc/UTC"}) {
    const TimeZoneVariable variable(name);
    const auto zone = load_zone(name);
    ASSERT_TRUE(zone) << zone.error().message;
    const auto host = load_zone("");
    ASSERT_TRUE(host);
    std::mt19937_64 random(1);
    for (int i = 0; i < 2000; ++i) {
      const auto at = std::uniform_int_distribution<std::int64_t>(-2'000'000'000, 13'000'000'000)(random);
      ASSERT_EQ(zone->offset_at(sys_seconds(seconds(at))), c_library_offset(at)) << name << " at " << at;
      ASSERT_EQ(host->offset_at(sys_seconds(seconds(at))), c_library_offset(at)) << name << " at " << at;
    }
    if (!zone->rules) continue;
    for (const auto& change : zone->rules->changes) {
      ASSERT_EQ(zone->offset_at(sys_seconds(seconds(change.at - 1))), c_library_offset(change.at - 1)) << change.at;
      ASSERT_EQ(zone->offset_at(sys_seconds(seconds(change.at))), c_library_offset(change.at)) << change.at;
    }
  }
}

TEST(TimeZoneTest, RulesOfTheVariableAgreeWithTheCLibrary) {
  for (const char* rule : {"CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
                           "IST-1GMT0,M10.5.0,M3.5.0/1", "AAA5BBB,J60,J300", "AAA5BBB,59/3:30,299", "<+0545>-5:45"}) {
    const TimeZoneVariable variable(rule);
    const auto zone = parse_zone_rule(rule);
    ASSERT_TRUE(zone) << zone.error().message;
    std::mt19937_64 random(2);
    for (int i = 0; i < 2000; ++i) {
      const auto at = std::uniform_int_distribution<std::int64_t>(32'000'000, 13'000'000'000)(random);
      ASSERT_EQ(zone->offset_at(sys_seconds(seconds(at))), c_library_offset(at)) << rule << " at " << at;
    }
  }
  // 2024-01-01 and 2024-07-01: without days the rule is that of the United States, as POSIX leaves open.
  EXPECT_EQ(parse_zone_rule("ABC5ABD")->offset_at(sys_seconds{seconds(1'704'067'200)}), -hours(5));
  EXPECT_EQ(parse_zone_rule("ABC5ABD")->offset_at(sys_seconds{seconds(1'719'792'000)}), -hours(4));
  EXPECT_EQ(parse_zone_rule("XXX3EDT4,0/0,J365/23")->offset_at(sys_seconds{hours(500'000)}), -hours(4))
      << "all the year";
}

TEST(TimeZoneTest, BadRulesAreRefused) {
  for (const char* rule : {"", "C", "CET", "CET-1CEST,", "CET-1CEST,M13.1.0,M10.5.0", "CET-1CEST,M3.5.0",
                           "CET-1CEST,M3.5.0,M10.5.0x", "CET--1", "<CET-1"})
    EXPECT_FALSE(parse_zone_rule(rule)) << rule;
}

TEST(TimeZoneTest, ADamagedZoneFileIsRefusedAndHarmless) {
  const auto good = read_file("/usr/share/zoneinfo/Europe/Berlin", 100'000);
  ASSERT_TRUE(good);
  ASSERT_TRUE(parse_zone_file(*good));
  for (std::size_t size = 0; size < good->size(); size += 7)
    EXPECT_FALSE(parse_zone_file(good->substr(0, size))) << size;
  std::mt19937 random(3);
  for (int i = 0; i < 5000; ++i) {
    std::string bad = *good;
    for (int n = 0; n < 3; ++n) bad[random() % bad.size()] = static_cast<char>(random());
    if (const auto zone = parse_zone_file(bad)) [[maybe_unused]]
      const auto offset = zone->to_utc(std::chrono::local_seconds(seconds(1'700'000'000)));
  }
}

TEST(TimeZoneTest, AHostWithoutAZoneIsInUtc) {
  const TimeZoneVariable variable("");
  EXPECT_EQ(load_zone("")->offset_at(sys_seconds{}), seconds(0));
}

}  // namespace
}  // namespace appmesh::platform

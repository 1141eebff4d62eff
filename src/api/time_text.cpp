#include "api/time_text.h"

#include <ctime>

#include <fmt/format.h>

#include "platform/clock.h"

namespace appmesh::api {

namespace {

constexpr int kSecondsPerDay = 86400;

// "+08", "+05:30": trailing zero minutes are left out.
std::string offset_text(std::chrono::seconds offset) {
  const auto minutes = std::chrono::abs(offset).count() / 60;
  std::string text = fmt::format("{}{:02}", offset.count() < 0 ? '-' : '+', minutes / 60);
  if (minutes % 60 != 0) text += fmt::format(":{:02}", minutes % 60);
  return text;
}

}  // namespace

std::string TimeText::operator()(core::WallTime instant) const {
  const auto at = std::chrono::floor<std::chrono::seconds>(instant);
  const auto offset = zone_.offset_at(at);
  const std::time_t seconds = (at + offset).time_since_epoch().count();
  std::tm local{};
  ::gmtime_r(&seconds, &local);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,
                     local.tm_hour, local.tm_min, local.tm_sec, offset_text(offset));
}

std::string TimeText::time_of_day(int seconds) const {
  const auto offset = zone_.offset_at(std::chrono::floor<std::chrono::seconds>(platform::wall_now()));
  const auto local = ((seconds + offset.count()) % kSecondsPerDay + kSecondsPerDay) % kSecondsPerDay;
  return fmt::format("{:02}:{:02}:{:02}{}", local / 3600, local / 60 % 60, local % 60, offset_text(offset));
}

}  // namespace appmesh::api

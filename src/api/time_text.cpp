#include "api/time_text.h"

#include <charconv>
#include <cstdlib>
#include <ctime>

#include <fmt/format.h>

namespace appmesh::api {

namespace {

constexpr int kSecondsPerDay = 86400;

std::optional<std::chrono::seconds> parse_offset(std::string_view zone) {
  if (zone.size() < 2 || (zone[0] != '+' && zone[0] != '-')) return std::nullopt;
  const std::string_view digits = zone.substr(1);
  const auto colon = digits.find(':');
  const std::string_view hours_text = digits.substr(0, colon);
  const std::string_view minutes_text = colon == std::string_view::npos ? "0" : digits.substr(colon + 1);
  int hours = 0;
  int minutes = 0;
  const auto whole = [](std::string_view text, int& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc{} && end == text.data() + text.size();
  };
  if (!whole(hours_text, hours) || !whole(minutes_text, minutes) || hours > 14 || minutes > 59) return std::nullopt;
  const std::chrono::seconds offset = std::chrono::hours(hours) + std::chrono::minutes(minutes);
  return zone[0] == '-' ? -offset : offset;
}

// "+08", "+05:30": trailing zero minutes are left out.
std::string offset_text(long seconds) {
  const long minutes = std::labs(seconds) / 60;
  std::string text = fmt::format("{}{:02}", seconds < 0 ? '-' : '+', minutes / 60);
  if (minutes % 60 != 0) text += fmt::format(":{:02}", minutes % 60);
  return text;
}

}  // namespace

TimeText::TimeText(std::string_view zone) : offset_(parse_offset(zone)) {}

std::string TimeText::operator()(core::WallTime instant) const {
  std::time_t seconds = core::epoch_seconds(instant);
  std::tm local{};
  long offset = 0;
  if (offset_) {
    offset = offset_->count();
    seconds += offset;
    ::gmtime_r(&seconds, &local);
  } else {
    ::localtime_r(&seconds, &local);
    offset = local.tm_gmtoff;
  }
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}", local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,
                     local.tm_hour, local.tm_min, local.tm_sec, offset_text(offset));
}

std::string TimeText::time_of_day(int seconds) const {
  long offset = 0;
  if (offset_) {
    offset = offset_->count();
  } else {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    offset = local.tm_gmtoff;
  }
  const long local = ((seconds + offset) % kSecondsPerDay + kSecondsPerDay) % kSecondsPerDay;
  return fmt::format("{:02}:{:02}:{:02}{}", local / 3600, local / 60 % 60, local % 60, offset_text(offset));
}

}  // namespace appmesh::api

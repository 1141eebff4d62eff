#include "cli/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <ctime>

#include <appmesh/duration.h>
#include <appmesh/wire/json_text.h>
#include <fmt/format.h>

namespace appmesh::cli {
namespace {

namespace json = boost::json;

void write_json(const json::value& value, std::size_t indent, std::string& out) {
  const std::string inner(indent + 2, ' ');
  if (value.is_object() && !value.get_object().empty()) {
    out += "{\n";
    bool first = true;
    for (const auto& [key, child] : value.get_object()) {
      if (!first) out += ",\n";
      first = false;
      out += inner + wire::write_json(json::value(key)) + ": ";
      write_json(child, indent + 2, out);
    }
    out += "\n" + std::string(indent, ' ') + "}";
  } else if (value.is_array() && !value.get_array().empty()) {
    out += "[\n";
    bool first = true;
    for (const json::value& child : value.get_array()) {
      if (!first) out += ",\n";
      first = false;
      out += inner;
      write_json(child, indent + 2, out);
    }
    out += "\n" + std::string(indent, ' ') + "]";
  } else if (value.is_double()) {
    out += fmt::format("{}", value.get_double());  // Boost writes 1.5 as 1.5E0
  } else {
    out += wire::write_json(value);
  }
}

bool is_plain_yaml(std::string_view text) {
  if (text.empty() || text.size() > 200 || text.back() == ' ' || text.back() == ':') return false;
  if (std::isalpha(static_cast<unsigned char>(text.front())) == 0 && text.front() != '/' && text.front() != '_') {
    return false;
  }
  constexpr std::string_view kSafe = "_-./+=@, :";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool safe = std::isalnum(static_cast<unsigned char>(c)) != 0 || kSafe.find(c) != std::string_view::npos;
    if (!safe || (c == ':' && text[i + 1] == ' ')) return false;
  }
  std::string word(text);
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::array kReserved{"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  return std::find(kReserved.begin(), kReserved.end(), word) == kReserved.end();
}

std::string yaml_scalar(const json::value& value) {
  if (value.is_string() && is_plain_yaml(std::string_view(value.get_string()))) {
    return std::string(value.get_string());
  }
  std::string out;
  write_json(value, 0, out);  // JSON is YAML: quoted strings, numbers, [] and {}
  return out;
}

bool is_block(const json::value& value) {
  return (value.is_object() && !value.get_object().empty()) || (value.is_array() && !value.get_array().empty());
}

void write_yaml(const json::value& value, std::size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  if (value.is_object()) {
    for (const auto& [key, child] : value.get_object()) {
      out += margin + yaml_scalar(json::value(key)) + ":";
      out += is_block(child) ? "\n" : " " + yaml_scalar(child) + "\n";
      if (is_block(child)) write_yaml(child, indent + 2, out);
    }
  } else {
    for (const json::value& child : value.get_array()) {
      if (is_block(child)) {
        std::string block;
        write_yaml(child, indent + 2, block);
        out += margin + "- " + block.substr(indent + 2);
      } else {
        out += margin + "- " + yaml_scalar(child) + "\n";
      }
    }
  }
}

std::optional<int> take_digits(std::string_view& text, std::size_t count) {
  if (text.size() < count) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

struct ClockTime {
  int hour = 0;
  int minute = 0;
  int second = 0;
};

std::optional<ClockTime> take_clock(std::string_view& text) {
  ClockTime clock;
  const auto hour = take_digits(text, 2);
  if (!hour || !take(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute) return std::nullopt;
  clock.hour = *hour;
  clock.minute = *minute;
  if (take(text, ':')) {
    const auto second = take_digits(text, 2);
    if (!second) return std::nullopt;
    clock.second = *second;
  }
  if (clock.hour > 23 || clock.minute > 59 || clock.second > 59) return std::nullopt;
  return clock;
}

// Z, +HH, +HHMM or +HH:MM in seconds east.
std::optional<long> take_offset(std::string_view& text) {
  if (take(text, 'Z') || take(text, 'z')) return 0;
  const bool west = text.starts_with('-');
  if (!west && !text.starts_with('+')) return std::nullopt;
  text.remove_prefix(1);
  const auto hours = take_digits(text, 2);
  if (!hours || *hours > 14) return std::nullopt;
  long seconds = *hours * 3600L;
  take(text, ':');
  if (!text.empty()) {
    const auto minutes = take_digits(text, 2);
    if (!minutes || *minutes > 59) return std::nullopt;
    seconds += *minutes * 60L;
  }
  return west ? -seconds : seconds;
}

// 90s, 15m, 2h, 3d, or what the API takes: seconds or ISO 8601.
std::optional<std::chrono::seconds> parse_span(std::string_view text) {
  constexpr std::string_view kUnits = "smhd";
  constexpr std::array<int, 4> kSeconds = {1, 60, 3600, 86'400};
  const auto unit = text.empty() ? std::string_view::npos : kUnits.find(text.back());
  if (unit == std::string_view::npos) return parse_duration(text);
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, count);
  if (error != std::errc{} || end != text.data() + text.size() - 1) return std::nullopt;
  return std::chrono::seconds(std::int64_t{count} * kSeconds[unit]);
}

}  // namespace

std::string pretty_json(const json::value& value) {
  std::string out;
  write_json(value, 0, out);
  return out;
}

std::string to_yaml(const json::value& value) {
  if (!is_block(value)) return yaml_scalar(value) + "\n";
  std::string out;
  write_yaml(value, 0, out);
  return out;
}

std::string human_bytes(std::int64_t bytes) {
  constexpr std::array kUnits{"Ki", "Mi", "Gi", "Ti"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0 || value >= 9.95) return fmt::format("{:.0f}{}", value, kUnits[unit]);
  return fmt::format("{:.1f}{}", value, kUnits[unit]);
}

std::string human_duration(std::int64_t seconds) {
  seconds = std::max<std::int64_t>(seconds, 0);
  if (seconds < 60) return fmt::format("{}s", seconds);
  const auto two = [](std::int64_t big, char big_unit, std::int64_t small, char small_unit) {
    return small == 0 ? fmt::format("{}{}", big, big_unit) : fmt::format("{}{}{}{}", big, big_unit, small, small_unit);
  };
  if (seconds < 3600) return two(seconds / 60, 'm', seconds % 60, 's');
  if (seconds < 86'400) return two(seconds / 3600, 'h', seconds % 3600 / 60, 'm');
  return two(seconds / 86'400, 'd', seconds % 86'400 / 3600, 'h');
}

std::string local_time(std::int64_t epoch) {
  const auto time = static_cast<std::time_t>(epoch);
  std::tm parts{};
  if (::localtime_r(&time, &parts) == nullptr) return std::to_string(epoch);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S%z", &parts);
  std::string out = text.data();
  if (out.size() >= 5) out.insert(out.size() - 2, ":");
  return out;
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  std::int64_t epoch = 0;
  if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
      error == std::errc() && end == text.data() + text.size()) {
    return epoch >= 0 ? std::optional(epoch) : std::nullopt;
  }
  const auto year = take_digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  ClockTime clock;
  std::optional<long> offset;
  if (!text.empty()) {
    if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
    const auto given = take_clock(text);
    if (!given) return std::nullopt;
    clock = *given;
    if (!text.empty()) {
      offset = take_offset(text);
      if (!offset || !text.empty()) return std::nullopt;
    }
  }
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = clock.hour;
  parts.tm_min = clock.minute;
  parts.tm_sec = clock.second;
  parts.tm_isdst = -1;
  const std::time_t result = offset ? ::timegm(&parts) - *offset : std::mktime(&parts);
  // 31 April would have become 1 May.
  if (!offset && parts.tm_mday != *day) return std::nullopt;
  if (offset && parts.tm_mon != *month - 1) return std::nullopt;
  return result;
}

std::string in_local_time(std::string_view text) {
  const std::size_t space = text.find(' ');
  const std::string_view time = text.substr(0, space);
  const auto epoch = time.find('T') == std::string_view::npos ? std::nullopt : parse_time(time);
  if (!epoch) return std::string(text);
  return local_time(*epoch) + std::string(space == std::string_view::npos ? std::string_view{} : text.substr(space));
}

std::optional<std::int64_t> parse_since(std::string_view text, std::int64_t now) {
  if (const auto ago = parse_span(text)) return now - ago->count();
  return parse_time(text);
}

std::optional<std::int64_t> parse_time_of_day(std::string_view text) {
  const auto clock = take_clock(text);
  if (!clock || !text.empty()) return std::nullopt;
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  const long local = clock->hour * 3600L + clock->minute * 60L + clock->second;
  return ((local - parts.tm_gmtoff) % 86'400 + 86'400) % 86'400;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '\n' || byte == '\t' || byte == '\r') {
      out.push_back(' ');
    } else if (byte < 0x20 || byte == 0x7f) {
      out.push_back('?');
    } else if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      out.push_back('?');  // C1 controls, which some terminals obey
      ++i;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string shell_quote(std::string_view word) {
  constexpr std::string_view kSafe = "%+,-./:=@_";
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kSafe.find(c) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace appmesh::cli

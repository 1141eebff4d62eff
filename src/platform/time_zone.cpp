#include "platform/time_zone.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "platform/file.h"
#include "platform/posix_zone_rule.h"

namespace appmesh::platform {

namespace {

using core::Zone;
using core::ZoneRules;

constexpr std::uint64_t kLargestFile = 1024 * 1024;  // the largest real one has 3 kB
constexpr std::size_t kHeaderBytes = 44;

std::unexpected<Error> bad_file(std::string_view reason) {
  return fail(ErrorKind::invalid_argument, fmt::format("zone file: {}", reason));
}

// Big-endian numbers from the front of a text whose length was checked.
std::int64_t take_number(std::string_view& from, std::size_t bytes) {
  std::uint64_t value = 0;
  for (const char c : from.substr(0, bytes)) value = value << 8 | static_cast<unsigned char>(c);
  from.remove_prefix(bytes);
  return bytes == 8 ? static_cast<std::int64_t>(value) : static_cast<std::int32_t>(value);
}

struct Header {
  int version = 1;
  std::size_t isutcnt = 0, isstdcnt = 0, leapcnt = 0, timecnt = 0, typecnt = 0, charcnt = 0;

  [[nodiscard]] std::size_t block_bytes(std::size_t time_bytes) const {
    return timecnt * (time_bytes + 1) + typecnt * 6 + charcnt + leapcnt * (time_bytes + 4) + isstdcnt + isutcnt;
  }
};

Result<Header> take_header(std::string_view& from) {
  if (from.size() < kHeaderBytes || !from.starts_with("TZif")) return bad_file("not a TZif file");
  Header header;
  if (from[4] != '\0') header.version = from[4] - '0';
  from.remove_prefix(20);
  for (std::size_t* count :
       {&header.isutcnt, &header.isstdcnt, &header.leapcnt, &header.timecnt, &header.typecnt, &header.charcnt}) {
    const std::int64_t value = take_number(from, 4);
    if (value < 0 || value > static_cast<std::int64_t>(kLargestFile)) return bad_file("a count is out of range");
    *count = static_cast<std::size_t>(value);
  }
  if (header.typecnt == 0) return bad_file("no local time type");
  return header;
}

Result<ZoneRules> take_rules(std::string_view& from, const Header& header, std::size_t time_bytes) {
  if (from.size() < header.block_bytes(time_bytes)) return bad_file("cut short");
  std::string_view times = from.substr(0, header.timecnt * time_bytes);
  const std::string_view types = from.substr(times.size(), header.timecnt);
  const std::string_view records = from.substr(times.size() + types.size(), header.typecnt * 6);
  from.remove_prefix(header.block_bytes(time_bytes));
  std::vector<std::int32_t> offsets;
  for (std::size_t i = 0; i < header.typecnt; ++i) {
    std::string_view record = records.substr(i * 6, 4);
    const auto offset = static_cast<std::int32_t>(take_number(record, 4));
    if (offset < -26 * 3600 || offset > 26 * 3600) return bad_file("an offset is out of range");
    offsets.push_back(offset);
  }
  ZoneRules rules{.first_offset_seconds = offsets.front()};
  for (const char type : types) {
    const auto index = static_cast<unsigned char>(type);
    if (index >= offsets.size()) return bad_file("a change to an unknown local time type");
    const std::int64_t at = take_number(times, time_bytes);
    if (!rules.changes.empty() && at <= rules.changes.back().at) return bad_file("changes out of order");
    rules.changes.push_back({at, offsets[index]});
  }
  return rules;
}

Zone make_zone(ZoneRules rules) {
  // A change of the name or of the daylight saving flag alone is none.
  std::int32_t before = rules.first_offset_seconds;
  std::erase_if(rules.changes, [&](const ZoneRules::Change& change) {
    return std::exchange(before, change.offset_seconds) == change.offset_seconds;
  });
  if (rules.changes.empty()) return {.utc_offset = std::chrono::seconds(rules.first_offset_seconds)};
  return {.rules = std::make_shared<const ZoneRules>(std::move(rules))};
}

std::optional<std::chrono::seconds> parse_offset(std::string_view text) {
  const bool west = text.starts_with('-');
  text.remove_prefix(1);
  const auto colon = text.find(':');
  const auto number = [](std::string_view digits, int most) -> std::optional<int> {
    int value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || digits.size() > 2 || digits.front() == '-' || error != std::errc{} ||
        end != digits.data() + digits.size() || value > most)
      return std::nullopt;
    return value;
  };
  const auto hours = number(text.substr(0, colon), 14);
  const auto minutes = number(colon == std::string_view::npos ? "0" : text.substr(colon + 1), 59);
  if (!hours || !minutes) return std::nullopt;
  const std::chrono::seconds offset = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
  return west ? -offset : offset;
}

// A name that stays below the directory.
bool is_zone_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_+-/").contains(c);
  };
  return !name.empty() && name.size() <= 128 && name.front() != '/' && std::ranges::all_of(name, allowed);
}

Result<Zone> load_file(const std::filesystem::path& path) {
  auto contents = read_file(path, kLargestFile);
  if (!contents) return std::unexpected(contents.error());
  return parse_zone_file(*contents);
}

Result<Zone> load_named(std::string_view name) {
  const char* directory = std::getenv("TZDIR");  // NOLINT: nothing changes the environment
  return load_file(std::filesystem::path(directory != nullptr ? directory : "/usr/share/zoneinfo") / name);
}

// As the C library takes it: what cannot be understood is UTC.
Zone host_zone() {
  const char* variable = std::getenv("TZ");  // NOLINT: nothing changes the environment
  if (variable == nullptr) return load_file("/etc/localtime").value_or(Zone{});
  std::string_view name = variable;
  if (name.starts_with(':')) name.remove_prefix(1);
  if (name.starts_with('/')) return load_file(name).value_or(Zone{});
  if (is_zone_name(name))
    if (auto zone = load_named(name)) return *zone;
  return parse_zone_rule(name).value_or(Zone{});
}

}  // namespace

Result<Zone> parse_zone_file(std::string_view contents) {
  auto header = take_header(contents);
  if (!header) return std::unexpected(header.error());
  auto rules = take_rules(contents, *header, 4);
  if (!rules) return std::unexpected(rules.error());
  if (header->version < 2) return make_zone(std::move(*rules));
  header = take_header(contents);
  if (!header) return std::unexpected(header.error());
  rules = take_rules(contents, *header, 8);
  if (!rules) return std::unexpected(rules.error());
  const auto end = contents.starts_with('\n') ? contents.find('\n', 1) : std::string_view::npos;
  if (end == std::string_view::npos) return bad_file("cut short");
  if (const auto footer = contents.substr(1, end - 1); !footer.empty()) {
    const auto rule = PosixZoneRule::parse(footer);
    if (!rule) return std::unexpected(rule.error());
    rule->extend(*rules);
  }
  return make_zone(std::move(*rules));
}

Result<Zone> parse_zone_rule(std::string_view text) {
  const auto rule = PosixZoneRule::parse(text);
  if (!rule) return std::unexpected(rule.error());
  ZoneRules rules{.first_offset_seconds = rule->standard_seconds()};
  rule->extend(rules);
  return make_zone(std::move(rules));
}

Result<Zone> load_zone(std::string_view name) {
  if (name.empty()) return host_zone();
  if (name.front() == '+' || name.front() == '-') {
    if (const auto offset = parse_offset(name)) return Zone{.utc_offset = *offset};
    return fail(ErrorKind::invalid_argument, fmt::format("time zone '{}' is not an offset like +08 or -03:30", name));
  }
  if (!is_zone_name(name))
    return fail(ErrorKind::invalid_argument, fmt::format("time zone '{}' is neither an offset nor a name", name));
  auto zone = load_named(name);
  if (!zone) return fail(zone.error().kind, fmt::format("time zone '{}': {}", name, zone.error().message));
  return zone;
}

}  // namespace appmesh::platform

// How appc writes values for people: JSON, YAML, sizes, durations, local times; and how it reads the times they type.
// Pure functions but for the local time zone; main thread only (tzset).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

namespace appmesh::cli {

std::string pretty_json(const boost::json::value& value);
std::string to_yaml(const boost::json::value& value);

std::string human_bytes(std::int64_t bytes);       // 356Ki, 1.2Mi, 12Gi
std::string human_duration(std::int64_t seconds);  // 5s, 3m12s, 4h5m, 2d3h
std::string local_time(std::int64_t epoch);        // 2025-01-31T08:00:00+01:00
// A text that begins with a time of the daemon (last_error), with that time in the zone of all other times shown here.
std::string in_local_time(std::string_view text);

// Epoch seconds of an ISO date, date and time (T or blank between), with an offset or in local time; also plain epoch
// seconds. Nothing when it is none of these.
std::optional<std::int64_t> parse_time(std::string_view text);
// What --since means, in epoch seconds: so long before `now` for a duration (90s, 15m, 2h, 3d, seconds, ISO 8601), else
// what parse_time() reads. Nothing when it is neither.
std::optional<std::int64_t> parse_since(std::string_view text, std::int64_t now);
// "HH:MM[:SS]" local time of day, as seconds of the UTC day.
std::optional<std::int64_t> parse_time_of_day(std::string_view text);

// The text without what could move the cursor or end the line: control characters become '?', line breaks a blank.
std::string printable(std::string_view text);

// A word as a POSIX shell reads it back unchanged.
std::string shell_quote(std::string_view word);

}  // namespace appmesh::cli

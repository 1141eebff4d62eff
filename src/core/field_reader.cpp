#include "core/field_reader.h"

#include <algorithm>
#include <array>

#include <appmesh/wire/json_text.h>

#include "core/cron.h"
#include "core/duration.h"
#include "core/text.h"

namespace appmesh::core {

namespace json = boost::json;

namespace {

constexpr std::size_t kMostVariables = 512;
constexpr std::size_t kMostVariableBytes = 64 * 1024;
constexpr std::size_t kMostUnknown = 32;

// What GET shows of a running app; a PUT may carry it back. Each time has a companion with the suffix _TEXT.
constexpr auto kRuntimeFields = std::to_array<std::string_view>(
    {"return_code", "pid_user", "memory", "cpu", "fd", "pstree", "task_id", "task_status", "last_start_time",
     "last_exit_time", "next_start_time", "container_id", "health", "stdout_cache_size", "last_error", "starts",
     "subscription_id", "from_recover", "runs", "ready", "status_text", "waiting_for", "missed_starts", "process_uuid",
     "tasks", "rolling_restart", "invalid",
     // What 3.x clients and a published one put back.
     "owner_principal_id", "owner_display_name", "execution_user", "system", "startup_phase", "stdout_file_count",
     "user"});
constexpr auto kTextCompanions = std::to_array<std::string_view>(
    {"start_time_TEXT", "end_time_TEXT", "register_time_TEXT", "last_start_time_TEXT", "last_exit_time_TEXT",
     "next_start_time_TEXT", "daily_start_TEXT", "daily_end_TEXT"});

bool is_text_companion(std::string_view name) {
  return std::ranges::find(kTextCompanions, name) != kTextCompanions.end();
}

bool is_runtime_field(std::string_view name) {
  return std::ranges::find(kRuntimeFields, name) != kRuntimeFields.end() || is_text_companion(name);
}

// nullptr: nothing wrong with the text.
const char* text_problem(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return "must not contain a NUL byte";
  if (!is_utf8(text)) return "is not valid UTF-8";
  return nullptr;
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

void FieldReader::text(std::string_view name, std::string& out, std::size_t longest) {
  const json::value* value = take(name);
  if (value == nullptr) return;
  const auto* string = value->if_string();
  if (string == nullptr) return refuse(name, "must be a string");
  if (string->size() > longest) return refuse(name, fmt::format("longer than {} bytes", longest));
  if (const char* problem = text_problem(*string)) return refuse(name, problem);
  out.assign(string->data(), string->size());
}

void FieldReader::boolean(std::string_view name, bool& out) {
  const json::value* value = take(name);
  if (value == nullptr) return;
  if (!value->is_bool()) return refuse(name, "must be true or false");
  out = value->get_bool();
}

void FieldReader::duration(std::string_view name, std::optional<DurationText>& out, std::int64_t least) {
  auto text = number_or_text(name);
  if (!text || text->empty()) return;
  const auto seconds = parse_duration(*text);
  if (!seconds) return refuse(name, seconds.error().message);
  if (seconds->count() < least) return refuse(name, fmt::format("must be at least {} s", least));
  out = DurationText{.text = std::move(*text), .value = *seconds};
}

void FieldReader::cron(std::string_view name, std::optional<DurationText>& out) {
  auto text = number_or_text(name);
  if (failed()) return;
  if (!text || text->empty()) return refuse(name, "required when cron is true");
  if (auto expression = parse_cron(*text); !expression) return refuse(name, expression.error().message);
  out = DurationText{.text = std::move(*text)};
}

std::optional<std::map<std::string, std::string>> FieldReader::variables(std::string_view name) {
  const json::object* members = object(name);
  if (members == nullptr) return std::nullopt;
  std::map<std::string, std::string> out;
  std::size_t bytes = 0;
  if (members->size() > kMostVariables) refuse(name, fmt::format("more than {} variables", kMostVariables));
  for (const auto& [key, value] : *members) {
    if (failed()) break;
    if (value.is_null()) continue;
    const auto* string = value.if_string();
    if (key.empty() || key.find('=') != std::string_view::npos || text_problem(key) != nullptr) {
      refuse(name, fmt::format("'{}' cannot be the name of a variable", printable(key)));
    } else if (string == nullptr) {
      refuse(name, fmt::format("the value of '{}' must be a string", printable(key)));
    } else if (const char* problem = text_problem(*string)) {
      refuse(name, fmt::format("the value of '{}' {}", printable(key), problem));
    } else {
      bytes += key.size() + string->size() + 2;
      out.insert_or_assign(std::string(key), std::string(*string));
    }
  }
  if (bytes > kMostVariableBytes) refuse(name, fmt::format("more than {} bytes", kMostVariableBytes));
  return out;
}

const json::object* FieldReader::object(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) refuse(name, "must be an object");
  return value->if_object();
}

const json::value* FieldReader::take(std::string_view name) {
  taken_.insert(name);
  if (failed()) return nullptr;
  const json::value* value = object_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::int64_t> FieldReader::checked_integer(std::string_view name, const json::value& value,
                                                         std::int64_t low, std::int64_t high) {
  if (!value.is_int64() && !value.is_uint64()) return refuse(name, "must be an integer"), std::nullopt;
  boost::system::error_code out_of_range;
  const auto number = value.to_number<std::int64_t>(out_of_range);
  if (out_of_range || number < low || number > high)
    return refuse(name, fmt::format("must be in {}..{}", low, high)), std::nullopt;
  return number;
}

void FieldReader::refuse(std::string_view name, std::string_view reason) {
  if (!failed())
    error_ = Error{ErrorKind::invalid_argument, fmt::format("field '{}{}': {}", prefix_, name, reason), {}};
}

void FieldReader::collect_unknown(std::vector<UnknownField>& unknown) const {
  for (const auto& [key, value] : object_) {
    if (unknown.size() >= kMostUnknown) return;
    if (taken_.contains(key) || (prefix_.empty() ? is_runtime_field(key) : is_text_companion(key))) continue;
    const std::vector<std::string_view> known(taken_.begin(), taken_.end());
    const std::string_view nearest = nearest_word(key, known);
    unknown.push_back({prefix_ + printable(key), nearest.empty() ? std::string() : prefix_ + std::string(nearest)});
  }
}

std::optional<std::string> FieldReader::number_or_text(std::string_view name) {
  const json::value* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) {
    std::string out;
    text(name, out, 256);
    return out;
  }
  if (!value->is_int64() && !value->is_uint64()) return refuse(name, "must be an integer or a string"), std::nullopt;
  return wire::write_json(*value);
}

}  // namespace appmesh::core

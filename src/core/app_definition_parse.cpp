// From JSON to a checked AppDefinition. The table is parse_definition() at the end: a line a field. FieldReader holds
// the checks that a kind of field has in common and remembers the first thing that is wrong.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <set>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "core/app_definition.h"
#include "core/cron.h"
#include "core/duration.h"
#include "core/line_pattern.h"
#include "core/text.h"

namespace appmesh::core {

namespace {

namespace json = boost::json;

constexpr std::size_t kLongestName = 128;
constexpr std::size_t kLongestCommand = 2047;
constexpr std::size_t kLongestText = 4095;
constexpr std::size_t kMostVariables = 512;
constexpr std::size_t kMostVariableBytes = 64 * 1024;
constexpr std::size_t kMostMetadataBytes = 64 * 1024;
constexpr int kDeepestMetadata = 32;
constexpr std::size_t kMostEntries = 64;  // of control and depends_on
constexpr std::size_t kMostUnknown = 32;
constexpr std::int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z, the last that has a four-digit year
constexpr std::int64_t kMostMegabytes = std::int64_t{1} << 30;
constexpr std::int64_t kMostPids = 4'194'304;  // PID_MAX_LIMIT
constexpr std::int64_t kMostCachedFiles = 1024;
constexpr std::int64_t kLongestWatchdog = 86400;

// What GET shows of a running app; a PUT may carry it back. Each time has a companion with the suffix _TEXT.
constexpr auto kRuntimeFields = std::to_array<std::string_view>({"return_code",
                                                                 "pid_user",
                                                                 "memory",
                                                                 "cpu",
                                                                 "fd",
                                                                 "pstree",
                                                                 "task_id",
                                                                 "task_status",
                                                                 "last_start_time",
                                                                 "last_exit_time",
                                                                 "next_start_time",
                                                                 "container_id",
                                                                 "health",
                                                                 "stdout_cache_size",
                                                                 "last_error",
                                                                 "starts",
                                                                 "subscription_id",
                                                                 "from_recover",
                                                                 "runs",
                                                                 "ready",
                                                                 "status_text",
                                                                 "waiting_for",
                                                                 "missed_starts",
                                                                 "rolling_restart",
                                                                 "invalid",
                                                                 "process_uuid"});
constexpr auto kTextCompanions = std::to_array<std::string_view>(
    {"start_time_TEXT", "end_time_TEXT", "register_time_TEXT", "last_start_time_TEXT", "last_exit_time_TEXT",
     "next_start_time_TEXT", "daily_start_TEXT", "daily_end_TEXT"});

bool is_runtime_field(std::string_view name) {
  return std::ranges::find(kRuntimeFields, name) != kRuntimeFields.end() ||
         std::ranges::find(kTextCompanions, name) != kTextCompanions.end();
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return lower;
}

template <typename Enum>
struct Word {
  std::string_view text;
  Enum value;
};
constexpr auto kExitActions = std::to_array<Word<ExitAction>>({{"standby", ExitAction::standby},
                                                               {"restart", ExitAction::restart},
                                                               {"keepalive", ExitAction::keepalive},
                                                               {"remove", ExitAction::remove}});
constexpr auto kLeftovers = std::to_array<Word<Leftovers>>({{"stop", Leftovers::stop}, {"leave", Leftovers::leave}});
constexpr auto kConditions = std::to_array<Word<DependencyCondition>>({{"started", DependencyCondition::started},
                                                                       {"ready", DependencyCondition::ready},
                                                                       {"healthy", DependencyCondition::healthy},
                                                                       {"completed", DependencyCondition::completed}});
constexpr auto kReadinessKinds = std::to_array<Word<ReadinessKind>>({{"start", ReadinessKind::start},
                                                                     {"notify", ReadinessKind::notify},
                                                                     {"health", ReadinessKind::health},
                                                                     {"log", ReadinessKind::log}});

// nullptr: nothing wrong with the text.
const char* text_problem(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return "must not contain a NUL byte";
  if (!is_utf8(text)) return "is not valid UTF-8";
  return nullptr;
}

const char* metadata_problem(const json::value& value, int depth) {
  if (depth > kDeepestMetadata) return "nested too deeply";
  if (const auto* text = value.if_string()) return text_problem(*text);
  if (const auto* array = value.if_array()) {
    for (const auto& item : *array)
      if (const char* problem = metadata_problem(item, depth + 1)) return problem;
  }
  if (const auto* object = value.if_object()) {
    for (const auto& [key, item] : *object) {
      if (const char* problem = text_problem(key)) return problem;
      if (const char* problem = metadata_problem(item, depth + 1)) return problem;
    }
  }
  return nullptr;
}

// Reads the members of one JSON object by name. After the first error every further read does nothing, so that the
// caller is a plain list of fields. `prefix` is "resource_limit." and the like inside an object.
class FieldReader {
 public:
  FieldReader(const json::object& object, std::string prefix, std::optional<Error>& error)
      : object_(object), prefix_(std::move(prefix)), error_(error) {}

  void text(std::string_view name, std::string& out, std::size_t longest) {
    const json::value* value = take(name);
    if (value == nullptr) return;
    const auto* string = value->if_string();
    if (string == nullptr) return refuse(name, "must be a string");
    if (string->size() > longest) return refuse(name, fmt::format("longer than {} bytes", longest));
    if (const char* problem = text_problem(*string)) return refuse(name, problem);
    out.assign(string->data(), string->size());
  }

  void boolean(std::string_view name, bool& out) {
    const json::value* value = take(name);
    if (value == nullptr) return;
    if (!value->is_bool()) return refuse(name, "must be true or false");
    out = value->get_bool();
  }

  template <typename Int>
  void integer(std::string_view name, Int& out, std::int64_t low, std::int64_t high) {
    const json::value* value = take(name);
    if (value == nullptr) return;
    const auto number = checked_integer(name, *value, low, high);
    if (number) out = static_cast<Int>(*number);
  }

  // Seconds as an integer, or text. Empty text is the zero value of a client's struct and means absent.
  void duration(std::string_view name, std::optional<DurationText>& out, std::int64_t least) {
    auto text = number_or_text(name);
    if (!text || text->empty()) return;
    const auto seconds = parse_duration(*text);
    if (!seconds) return refuse(name, seconds.error().message);
    if (seconds->count() < least) return refuse(name, fmt::format("must be at least {} s", least));
    out = DurationText{.text = std::move(*text), .value = *seconds};
  }

  void cron(std::string_view name, std::optional<DurationText>& out) {
    auto text = number_or_text(name);
    if (failed()) return;
    if (!text || text->empty()) return refuse(name, "required when cron is true");
    if (auto expression = parse_cron(*text); !expression) return refuse(name, expression.error().message);
    out = DurationText{.text = std::move(*text)};
  }

  // A word of a list, in any case; "" leaves the default.
  template <typename Words, typename Enum>
  void word(std::string_view name, const Words& words, Enum& out) {
    const json::value* value = take(name);
    if (value == nullptr) return;
    if (const auto found = checked_word<Words, Enum>(name, *value, words)) out = *found;
  }

  template <typename Words, typename Enum>
  std::optional<Enum> checked_word(std::string_view name, const json::value& value, const Words& words) {
    const auto* string = value.if_string();
    if (string == nullptr) return refuse(name, "must be a string"), std::nullopt;
    if (string->empty()) return std::nullopt;
    const std::string wanted = lower_case(*string);
    std::string choices;
    for (const auto& word : words) {
      if (word.text == wanted) return word.value;
      choices += (choices.empty() ? "" : ", ") + std::string(word.text);
    }
    refuse(name, "must be one of " + choices);
    return std::nullopt;
  }

  // Environment variables. Absent stays absent.
  std::optional<std::map<std::string, std::string>> variables(std::string_view name) {
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

  const json::object* object(std::string_view name) {
    const json::value* value = take(name);
    if (value == nullptr) return nullptr;
    if (!value->is_object()) refuse(name, "must be an object");
    return value->if_object();
  }

  // nullptr when the field is absent, null, or something is wrong already.
  const json::value* take(std::string_view name) {
    taken_.insert(name);
    if (failed()) return nullptr;
    const json::value* value = object_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  std::optional<std::int64_t> checked_integer(std::string_view name, const json::value& value, std::int64_t low,
                                              std::int64_t high) {
    if (!value.is_int64() && !value.is_uint64()) return refuse(name, "must be an integer"), std::nullopt;
    boost::system::error_code out_of_range;
    const auto number = value.to_number<std::int64_t>(out_of_range);
    if (out_of_range || number < low || number > high)
      return refuse(name, fmt::format("must be in {}..{}", low, high)), std::nullopt;
    return number;
  }

  void refuse(std::string_view name, std::string_view reason) {
    if (!failed())
      error_ = Error{ErrorKind::invalid_argument, fmt::format("field '{}{}': {}", prefix_, name, reason), {}};
  }
  bool failed() const { return error_.has_value(); }

  // Names what nobody asked for. The names end in a response header, so they are made harmless and bounded.
  void collect_unknown(std::vector<std::string>& unknown) const {
    for (const auto& [key, value] : object_) {
      if (unknown.size() >= kMostUnknown) return;
      if (!taken_.contains(key) && !is_runtime_field(key)) unknown.push_back(prefix_ + printable(key));
    }
  }

 private:
  std::optional<std::string> number_or_text(std::string_view name) {
    const json::value* value = take(name);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) {
      std::string out;
      text(name, out, 256);
      return out;
    }
    if (!value->is_int64() && !value->is_uint64()) return refuse(name, "must be an integer or a string"), std::nullopt;
    return json::serialize(*value);
  }

  const json::object& object_;
  std::string prefix_;
  std::optional<Error>& error_;
  std::set<std::string_view> taken_;
};

// A string that is JSON stands for that JSON, and again, so that what is stored parses to itself. Text that says null
// stays text: as a value it would mean absent.
json::value unwrap_metadata(json::value value) {
  while (const auto* text = value.if_string()) {
    boost::system::error_code error;
    json::value inner = json::parse(*text, error);
    if (error || inner.is_null()) break;
    value = std::move(inner);
  }
  return value;
}

void read_metadata(FieldReader& fields, json::value& out) {
  const json::value* value = fields.take("metadata");
  if (value == nullptr) return;
  if (const char* problem = metadata_problem(*value, 0)) return fields.refuse("metadata", problem);
  if (const auto* text = value->if_string()) {
    if (text->empty()) return;
    if (text->size() > kMostMetadataBytes)
      return fields.refuse("metadata", fmt::format("more than {} bytes", kMostMetadataBytes));
  }
  json::value unwrapped = unwrap_metadata(*value);
  if (const char* problem = metadata_problem(unwrapped, 0)) return fields.refuse("metadata", problem);
  if (json::serialize(unwrapped).size() > kMostMetadataBytes)
    return fields.refuse("metadata", fmt::format("more than {} bytes", kMostMetadataBytes));
  out = std::move(unwrapped);
}

void read_name(FieldReader& fields, std::string& out) {
  std::string name;
  fields.text("name", name, 4 * kLongestName);
  const auto first = name.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return;
  name = name.substr(first, name.find_last_not_of(" \t\r\n") - first + 1);
  if (auto checked = check_app_name(name); !checked) return fields.refuse("name", checked.error().message);
  out = std::move(name);
}

void read_permission(FieldReader& fields, std::uint32_t& out) {
  fields.integer("permission", out, 0, 99);
  if (out % 10 > 3 || out / 10 > 3) fields.refuse("permission", "digits must be 0..3");
}

// The members of a nested object, read by `read(FieldReader&)`; what is left over is unknown.
template <typename Read>
bool read_object(FieldReader& fields, std::string_view name, std::optional<Error>& error,
                 std::vector<std::string>& unknown, Read read) {
  const json::object* object = fields.object(name);
  if (object == nullptr) return false;
  FieldReader members(*object, std::string(name) + ".", error);
  read(members);
  members.collect_unknown(unknown);
  return true;
}

void read_control(FieldReader& members, std::map<int, ExitAction>& out) {
  const json::object* control = members.object("control");
  if (control == nullptr) return;
  if (control->size() > kMostEntries) return members.refuse("control", fmt::format("more than {} codes", kMostEntries));
  for (const auto& [key, value] : *control) {
    if (value.is_null()) continue;
    int code = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), code);
    if (key.empty() || error != std::errc{} || end != key.data() + key.size() || code < -64 || code > 255)
      return members.refuse("control", fmt::format("'{}' is not an exit code in -64..255", printable(key)));
    const auto action = members.checked_word<decltype(kExitActions), ExitAction>("control", value, kExitActions);
    if (members.failed()) return;
    if (action) out[code] = *action;
  }
}

void read_depends_on(FieldReader& fields, const std::string& own_name,
                     std::map<std::string, DependencyCondition>& out) {
  const json::object* apps = fields.object("depends_on");
  if (apps == nullptr) return;
  if (apps->size() > kMostEntries) return fields.refuse("depends_on", fmt::format("more than {} apps", kMostEntries));
  for (const auto& [key, value] : *apps) {
    if (value.is_null()) continue;
    if (!check_app_name(key))
      return fields.refuse("depends_on", fmt::format("'{}' is not an app name", printable(key)));
    if (!own_name.empty() && own_name == std::string_view(key))
      return fields.refuse("depends_on", "an app cannot depend on itself");
    const auto condition =
        fields.checked_word<decltype(kConditions), DependencyCondition>("depends_on", value, kConditions);
    if (fields.failed()) return;
    out[std::string(key)] = condition.value_or(DependencyCondition::started);
  }
}

void check_together(FieldReader& fields, AppDefinition& d) {
  if (d.start_time != 0 && d.end_time != 0 && d.start_time > d.end_time)
    fields.refuse("start_time", "must not be after end_time");
  if (d.resource_limit && d.resource_limit->memory_virt_mb != 0 &&
      d.resource_limit->memory_virt_mb < d.resource_limit->memory_mb)
    fields.refuse("resource_limit.memory_virt_mb", "is memory and swap together and must not be below memory_mb");
  if (d.resource_limit && d.resource_limit->cpu_shares == 1)
    fields.refuse("resource_limit.cpu_shares", "must be 0 or in 2..262144");
  if (d.readiness && d.readiness->by == ReadinessKind::log && d.readiness->pattern.empty())
    fields.refuse("readiness.pattern", "required for readiness by log");
  if (d.readiness && !d.readiness->pattern.empty()) {
    if (auto pattern = LinePattern::compile(d.readiness->pattern); !pattern)
      fields.refuse("readiness.pattern", pattern.error().message);
  }
  if (d.readiness && d.readiness->by == ReadinessKind::health && d.health_check_cmd.empty())
    fields.refuse("readiness.by", "health needs field 'health_check_cmd'");
  if (!d.shell && !d.command.empty()) {
    if (auto argv = split_command(d.command); !argv) fields.refuse("command", argv.error().message);
  }
  if (!d.docker_image.empty()) d.stdout_cache_num = 0;
}

}  // namespace

Result<ParsedDefinition> parse_definition(const json::object& object) {
  ParsedDefinition parsed;
  AppDefinition& d = parsed.definition;
  std::optional<Error> error;
  FieldReader fields(object, "", error);
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

  read_name(fields, d.name);
  fields.text("owner", d.owner, kLongestName);
  fields.text("command", d.command, kLongestCommand);
  fields.text("description", d.description, kLongestText);
  fields.text("working_dir", d.working_dir, kLongestText);
  fields.text("docker_image", d.docker_image, kLongestText);
  fields.text("health_check_cmd", d.health_check_cmd, kLongestCommand);
  read_metadata(fields, d.metadata);
  d.env = fields.variables("env").value_or(std::map<std::string, std::string>{});
  d.sec_env = fields.variables("sec_env");
  fields.boolean("shell", d.shell);
  fields.boolean("session_login", d.session_login);
  fields.integer("status", d.status, 0, 2);
  fields.integer("stdout_cache_num", d.stdout_cache_num, 0, kMostCachedFiles);
  read_permission(fields, d.permission);
  read_object(fields, "behavior", error, parsed.unknown_fields, [&](FieldReader& members) {
    members.word("exit", kExitActions, d.behavior.exit);
    read_control(members, d.behavior.control);
    members.word("leftovers", kLeftovers, d.behavior.leftovers);
  });
  fields.integer("start_time", d.start_time, 0, kLastSecond);
  fields.integer("end_time", d.end_time, 0, kLastSecond);
  fields.boolean("cron", d.cron);
  if (d.cron) {
    fields.cron("start_interval_seconds", d.start_interval);
  } else {
    fields.duration("start_interval_seconds", d.start_interval, 1);
  }
  fields.boolean("start_missed", d.start_missed);
  fields.duration("retention", d.retention, 0);
  DailyLimitation daily;
  if (read_object(fields, "daily_limitation", error, parsed.unknown_fields, [&](FieldReader& members) {
        if (members.take("daily_start") == nullptr) members.refuse("daily_start", "required");
        if (members.take("daily_end") == nullptr) members.refuse("daily_end", "required");
        members.integer("daily_start", daily.daily_start, 0, kLastSecond);
        members.integer("daily_end", daily.daily_end, 0, kLastSecond);
      }))
    d.daily_limitation = daily;
  ResourceLimit limit;
  if (read_object(fields, "resource_limit", error, parsed.unknown_fields, [&](FieldReader& members) {
        members.integer("memory_mb", limit.memory_mb, 0, kMostMegabytes);
        members.integer("memory_virt_mb", limit.memory_virt_mb, 0, kMostMegabytes);
        members.integer("cpu_shares", limit.cpu_shares, 0, 262144);
        members.integer("pids", limit.pids, 0, kMostPids);
      }))
    d.resource_limit = limit;
  read_depends_on(fields, d.name, d.depends_on);
  Readiness readiness;
  if (read_object(fields, "readiness", error, parsed.unknown_fields, [&](FieldReader& members) {
        members.word("by", kReadinessKinds, readiness.by);
        members.text("pattern", readiness.pattern, 1024);
        members.integer("timeout_seconds", readiness.timeout_seconds, 0, kLongestWatchdog);
      }))
    d.readiness = readiness;
  fields.integer("watchdog_seconds", d.watchdog_seconds, 0, kLongestWatchdog);
  fields.integer("instances", d.instances, 1, 1000);
  fields.integer("pid", d.pid, 0, kMostPids);
  fields.integer("version", d.version, -kAny, kAny);
  fields.integer("register_time", d.register_time, 0, kLastSecond);
  check_together(fields, d);

  if (error) return std::unexpected(std::move(*error));
  fields.collect_unknown(parsed.unknown_fields);
  return parsed;
}

Result<void> require_program(const AppDefinition& definition) {
  if (definition.command.empty() && definition.docker_image.empty())
    return fail(ErrorKind::invalid_argument, "no command line provide");
  return {};
}

Result<void> check_app_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kLongestName || !std::ranges::all_of(name, is_allowed))
    return fail(ErrorKind::invalid_argument, "an app name has 1..128 characters of A-Z a-z 0-9 _ -");
  return {};
}

}  // namespace appmesh::core

// From JSON to a checked AppDefinition. The table is parse_definition() at the end: a line a field.
#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <ranges>

#include <appmesh/wire/json_text.h>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "core/access.h"
#include "core/app_definition.h"
#include "core/field_reader.h"
#include "core/line_pattern.h"
#include "core/text.h"

namespace appmesh::core {

namespace {

namespace json = boost::json;

constexpr std::size_t kLongestName = 128;
constexpr std::size_t kLongestOwner = kLongestName + 65;  // with an id
constexpr std::size_t kLongestCommand = 2047;
constexpr std::size_t kLongestText = 4095;
constexpr std::size_t kMostEntries = 64;            // of control and depends_on
constexpr std::int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z, the last that has a four-digit year
constexpr std::int64_t kSecondsOfDay = 86400;
constexpr std::int64_t kMostMegabytes = std::int64_t{1} << 30;
constexpr std::int64_t kMostPids = 4'194'304;  // PID_MAX_LIMIT
constexpr std::int64_t kMostCachedFiles = 1024;
constexpr std::int64_t kLongestWatchdog = 86400;

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

void read_metadata(FieldReader& fields, std::string_view source, Metadata& out) {
  const json::value* value = fields.take("metadata");
  if (value == nullptr) return;
  const auto sent = wire::member_text(source, "metadata");
  if (!sent && !is_utf8(json::serialize(*value))) return fields.refuse("metadata", "is not valid UTF-8");
  auto metadata = Metadata::from_json(sent ? std::string(*sent) : wire::write_json(*value));
  if (!metadata) return fields.refuse("metadata", metadata.error().message);
  out = std::move(*metadata);
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
  fields.integer("permission", out, 0, 999);
  // 200 is what some clients of 2.x send: the third digit is kept and says nothing.
  if (out % 10 > 3 || out / 10 % 10 > 3 || out / 100 > 3) fields.refuse("permission", "digits must be 0..3");
}

// The members of a nested object, read by `read(FieldReader&)`; what is left over is unknown.
template <typename Read>
bool read_object(FieldReader& fields, std::string_view name, std::optional<Error>& error,
                 std::vector<UnknownField>& unknown, Read read) {
  const json::object* object = fields.object(name);
  if (object == nullptr) return false;
  FieldReader members(*object, std::string(name) + ".", error);
  read(members);
  members.collect_unknown(unknown);
  return true;
}

void read_control(FieldReader& members, std::string_view name, std::map<int, ExitAction>& out) {
  const json::object* control = members.object(name);
  if (control == nullptr) return;
  if (control->size() > kMostEntries) return members.refuse(name, fmt::format("more than {} codes", kMostEntries));
  for (const auto& [key, value] : *control) {
    if (value.is_null()) continue;
    int code = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), code);
    if (key.empty() || error != std::errc{} || end != key.data() + key.size() || code < -64 || code > 255)
      return members.refuse(name, fmt::format("'{}' is not an exit code in -64..255", printable(key)));
    const auto action = members.checked_word<decltype(kExitActions), ExitAction>(name, value, kExitActions);
    if (members.failed()) return;
    if (action) out[code] = *action;
  }
}

void read_depends_on(FieldReader& fields, const std::string& own_name,
                     std::map<std::string, DependencyCondition>& out) {
  const json::value* value_of_field = fields.take("depends_on");
  const auto is_app = [&](std::string_view name) {
    if (!check_app_name(name)) {
      fields.refuse("depends_on", fmt::format("'{}' is not an app name", printable(name)));
    } else if (!own_name.empty() && own_name == name) {
      fields.refuse("depends_on", "an app cannot depend on itself");
    }
    return !fields.failed();
  };
  const auto too_many = [&] { fields.refuse("depends_on", fmt::format("more than {} apps", kMostEntries)); };
  // The list of the 3.x generation, whose apps must be running and healthy.
  if (const json::array* names = value_of_field == nullptr ? nullptr : value_of_field->if_array()) {
    if (names->size() > kMostEntries) return too_many();
    for (const auto& name : *names) {
      const auto* text = name.if_string();
      if (text == nullptr) return fields.refuse("depends_on", "must be an object, or an array of app names");
      if (!is_app(*text)) return;
      out[std::string(*text)] = DependencyCondition::healthy;
    }
    return;
  }
  const json::object* apps = fields.object("depends_on");
  if (apps == nullptr) return;
  if (apps->size() > kMostEntries) return too_many();
  for (const auto& [key, value] : *apps) {
    if (value.is_null()) continue;
    if (!is_app(key)) return;
    const auto condition =
        fields.checked_word<decltype(kConditions), DependencyCondition>("depends_on", value, kConditions);
    if (fields.failed()) return;
    out[std::string(key)] = condition.value_or(DependencyCondition::started);
  }
}

void read_status(FieldReader& fields, AppStatus& out) {
  fields.integer("status", out, 0, 2);
  bool enabled = true;
  fields.boolean("enabled", enabled);
  if (fields.take("enabled") == nullptr) return;
  if (fields.take("status") != nullptr && (out == AppStatus::enabled) != enabled)
    return fields.refuse("enabled", "says something else than 'status'");
  if (fields.take("status") == nullptr) out = enabled ? AppStatus::enabled : AppStatus::disabled;
}

void read_schedule(FieldReader& fields, AppDefinition& d) {
  fields.boolean("cron", d.cron);
  const auto read = [&](std::string_view name, std::optional<DurationText>& out) {
    if (d.cron) {
      fields.cron(name, out);
    } else {
      fields.duration(name, out, 1);
    }
  };
  std::string expression;
  fields.text("cron_schedule", expression, kLongestText);
  if (expression.empty()) {
    fields.either("start_interval_seconds", "interval", d.start_interval, read);
    return;
  }
  d.cron = true;
  fields.cron("cron_schedule", d.start_interval);
  for (const std::string_view other : {"start_interval_seconds", "interval"}) {
    std::optional<DurationText> same;
    if (fields.take(other) != nullptr) fields.cron(other, same);
    if (same && same != d.start_interval)
      fields.refuse("cron_schedule", fmt::format("says something else than '{}'", other));
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

// A relative one starts in the directory of apps that name none, and stays below it.
void check_directory(FieldReader& fields, std::string_view directory) {
  if (directory.starts_with('~'))
    return fields.refuse("working_dir", "~ is not expanded here: give the whole path of the home directory");
  if (directory.starts_with('/')) return;
  int depth = 0;
  for (const auto part : std::views::split(directory, '/')) {
    const std::string_view name(part.begin(), part.end());
    if (name == "..") --depth;
    if (!name.empty() && name != "." && name != "..") ++depth;
    if (depth < 0)
      return fields.refuse("working_dir",
                           "a relative path must stay below the daemon's working directory: "
                           "give a whole path");
  }
}

}  // namespace

Result<ParsedDefinition> parse_definition(const json::object& object, std::string_view source) {
  ParsedDefinition parsed;
  AppDefinition& d = parsed.definition;
  std::optional<Error> error;
  FieldReader fields(object, "", error);
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

  read_name(fields, d.name);
  fields.text("owner", d.owner, kLongestOwner);
  if (name_of_owner(d.owner).size() > kLongestName)
    fields.refuse("owner", fmt::format("longer than {} bytes", kLongestName));
  fields.text("command", d.command, kLongestCommand);
  fields.text("description", d.description, kLongestText);
  fields.text("working_dir", d.working_dir, kLongestText);
  check_directory(fields, d.working_dir);
  fields.text("docker_image", d.docker_image, kLongestText);
  fields.text("health_check_cmd", d.health_check_cmd, kLongestCommand);
  read_metadata(fields, source, d.metadata);
  d.env = fields.variables("env").value_or(std::map<std::string, std::string>{});
  const auto read_secrets = [&](std::string_view name, auto& out) { out = fields.variables(name); };
  fields.either("sec_env", "secret_env", d.sec_env, read_secrets);
  fields.boolean("shell", d.shell);
  fields.boolean("session_login", d.session_login);
  read_status(fields, d.status);
  const auto read_count = [&](std::string_view name, std::uint32_t& out) {
    fields.integer(name, out, 0, kMostCachedFiles);
  };
  fields.either("stdout_cache_num", "stdout_backup_count", d.stdout_cache_num, read_count);
  read_permission(fields, d.permission);
  read_object(fields, "behavior", error, parsed.unknown_fields, [&](FieldReader& members) {
    members.word("exit", kExitActions, d.behavior.exit);
    const auto read = [&](std::string_view name, auto& out) { read_control(members, name, out); };
    members.either("control", "exit_code_actions", d.behavior.control, read);
    members.word("leftovers", kLeftovers, d.behavior.leftovers);
  });
  fields.integer("start_time", d.start_time, 0, kLastSecond);
  fields.integer("end_time", d.end_time, 0, kLastSecond);
  read_schedule(fields, d);
  fields.boolean("start_missed", d.start_missed);
  const auto read_grace = [&](std::string_view name, auto& out) { fields.duration(name, out, 0); };
  fields.either("retention", "stop_grace_period", d.retention, read_grace);
  DailyLimitation daily;
  if (read_object(fields, "daily_limitation", error, parsed.unknown_fields, [&](FieldReader& members) {
        if (members.take("daily_start") == nullptr) members.refuse("daily_start", "required");
        if (members.take("daily_end") == nullptr) members.refuse("daily_end", "required");
        members.integer("daily_start", daily.daily_start, 0, kLastSecond);
        members.integer("daily_end", daily.daily_end, 0, kLastSecond);
      }))
    d.daily_limitation = DailyLimitation{daily.daily_start % kSecondsOfDay, daily.daily_end % kSecondsOfDay};
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

Result<void> refuse_unknown(const std::vector<UnknownField>& fields) {
  if (fields.empty()) return {};
  std::string message;
  for (const auto& [name, nearest] : fields) {
    message += fmt::format("{}field '{}': unknown", message.empty() ? "" : "; ", name);
    if (!nearest.empty()) message += fmt::format(", did you mean '{}'?", nearest);
  }
  return fail(ErrorKind::invalid_argument, std::move(message));
}

std::string names_of(const std::vector<UnknownField>& fields) {
  std::string names;
  for (const auto& field : fields) names += (names.empty() ? "" : ", ") + field.name;
  return names;
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

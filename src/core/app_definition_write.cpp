// From an AppDefinition back to JSON, and what a change of one definition into another means for the running process.
#include <appmesh/wire/json_text.h>
#include <fmt/format.h>

#include "core/app_definition.h"

namespace appmesh::core {

namespace {

namespace json = boost::json;

// Writes the members that differ from their default.
class FieldWriter {
 public:
  explicit FieldWriter(json::object& out) : out_(out) {}
  void text(std::string_view name, const std::string& value) {
    if (!value.empty()) out_[name] = value;
  }
  void number(std::string_view name, std::int64_t value, std::int64_t absent = 0) {
    if (value != absent) out_[name] = value;
  }
  void flag(std::string_view name, bool value) {
    if (value) out_[name] = true;
  }
  void duration(std::string_view name, const std::optional<DurationText>& value) {
    if (value) out_[name] = value->text;
  }
  void variables(std::string_view name, const std::map<std::string, std::string>& values) {
    json::object& members = out_[name].emplace_object();
    for (const auto& [key, value] : values) members[key] = value;
  }

 private:
  json::object& out_;
};

json::object write(const Behavior& behavior) {
  json::object out{{"exit", to_string(behavior.exit)}};
  if (!behavior.control.empty()) {
    json::object& control = out["control"].emplace_object();
    for (const auto& [code, action] : behavior.control) control[std::to_string(code)] = to_string(action);
  }
  if (behavior.leftovers == Leftovers::leave) out["leftovers"] = "leave";
  return out;
}

json::object write(const ResourceLimit& limit) {
  json::object out;
  FieldWriter fields(out);
  fields.number("memory_mb", limit.memory_mb);
  fields.number("memory_virt_mb", limit.memory_virt_mb);
  fields.number("cpu_shares", limit.cpu_shares);
  fields.number("pids", limit.pids);
  return out;
}

json::object write(const Readiness& readiness) {
  json::object out{{"by", to_string(readiness.by)}};
  FieldWriter fields(out);
  fields.text("pattern", readiness.pattern);
  fields.number("timeout_seconds", readiness.timeout_seconds);
  return out;
}

bool uses_notify(const AppDefinition& d) {
  return d.readiness && d.readiness->by == ReadinessKind::notify;
}

}  // namespace

std::string_view to_string(DependencyCondition condition) {
  switch (condition) {
    case DependencyCondition::started:
      return "started";
    case DependencyCondition::ready:
      return "ready";
    case DependencyCondition::healthy:
      return "healthy";
    case DependencyCondition::completed:
      return "completed";
  }
  return "";
}

std::string_view to_string(ReadinessKind kind) {
  switch (kind) {
    case ReadinessKind::start:
      return "start";
    case ReadinessKind::notify:
      return "notify";
    case ReadinessKind::health:
      return "health";
    case ReadinessKind::log:
      return "log";
  }
  return "";
}

std::string_view to_string(ExitAction action) {
  switch (action) {
    case ExitAction::standby:
      return "standby";
    case ExitAction::restart:
      return "restart";
    case ExitAction::keepalive:
      return "keepalive";
    case ExitAction::remove:
      return "remove";
  }
  return "";
}

json::object write_definition(const AppDefinition& d, SecretFields secrets) {
  json::object out;
  FieldWriter fields(out);
  out["name"] = d.name;
  out["status"] = static_cast<std::int64_t>(d.status);
  out["register_time"] = d.register_time;
  out["behavior"] = write(d.behavior);
  fields.text("owner", d.owner);
  fields.text("command", d.command);
  fields.text("description", d.description);
  fields.text("working_dir", d.working_dir);
  fields.text("docker_image", d.docker_image);
  fields.text("health_check_cmd", d.health_check_cmd);
  if (!d.env.empty()) fields.variables("env", d.env);
  if (d.sec_env && secrets == SecretFields::include) fields.variables("sec_env", *d.sec_env);
  fields.flag("shell", d.shell);
  fields.flag("session_login", d.session_login);
  fields.number("stdout_cache_num", d.stdout_cache_num);
  fields.number("permission", d.permission);
  fields.number("start_time", d.start_time);
  fields.number("end_time", d.end_time);
  fields.duration("start_interval_seconds", d.start_interval);
  fields.flag("cron", d.cron);
  fields.flag("start_missed", d.start_missed);
  fields.duration("retention", d.retention);
  if (d.daily_limitation)
    out["daily_limitation"] = {{"daily_start", d.daily_limitation->daily_start},
                               {"daily_end", d.daily_limitation->daily_end}};
  if (d.resource_limit) out["resource_limit"] = write(*d.resource_limit);
  if (!d.depends_on.empty()) {
    json::object& apps = out["depends_on"].emplace_object();
    for (const auto& [app, condition] : d.depends_on) apps[app] = to_string(condition);
  }
  if (d.readiness) out["readiness"] = write(*d.readiness);
  fields.number("watchdog_seconds", d.watchdog_seconds);
  fields.number("instances", d.instances, 1);
  fields.number("version", d.version);
  return out;
}

std::string definition_text(const AppDefinition& d, SecretFields secrets) {
  std::string out;
  wire::append_json_object(out, write_definition(d, secrets));
  if (d.metadata.kind() != Metadata::Kind::none) wire::append_member(out, "metadata", d.metadata.json());
  return out;
}

bool needs_restart(const AppDefinition& from, const AppDefinition& to) {
  // The owner counts because its exec_user is the process's OS user; limits do not, the cgroup takes them live.
  return from.owner != to.owner || from.command != to.command || from.shell != to.shell ||
         from.session_login != to.session_login || from.working_dir != to.working_dir ||
         from.docker_image != to.docker_image || !from.metadata.says_the_same(to.metadata) || from.env != to.env ||
         from.sec_env != to.sec_env || from.watchdog_seconds != to.watchdog_seconds ||
         uses_notify(from) != uses_notify(to);
}

std::string run_fingerprint(const AppDefinition& d) {
  // FNV-1a, 64 bits: it tells versions of one owner's definition apart and protects nothing. A field at its default
  // adds nothing, so a field that a later version brings changes no fingerprint of before. Each text is preceded by
  // its length, or two neighbours could trade characters.
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto mix = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  };
  const auto add = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) mix(fmt::format("{}:{}:{}", name, value.size(), value));
  };
  add("owner", d.owner);
  add("command", d.command);
  add("working_dir", d.working_dir);
  add("docker_image", d.docker_image);
  if (d.metadata.kind() != Metadata::Kind::none) add("metadata", wire::canonical_json(d.metadata.json()));
  for (const auto& [name, value] : d.env) add("env", fmt::format("{}={}", name, value));
  if (d.sec_env)
    for (const auto& [name, value] : *d.sec_env) add("sec_env", fmt::format("{}={}", name, value));
  if (d.shell) add("shell", "1");
  if (d.session_login) add("session_login", "1");
  if (d.watchdog_seconds != 0) add("watchdog_seconds", std::to_string(d.watchdog_seconds));
  if (uses_notify(d)) add("notify", "1");
  return fmt::format("1:{:016x}", hash);
}

AppDefinition keep_stored_fields(const AppDefinition& stored, AppDefinition put) {
  put.register_time = stored.register_time;
  if (!put.sec_env) put.sec_env = stored.sec_env;
  return put;
}

bool same_definition(const AppDefinition& a, const AppDefinition& b) {
  AppDefinition other = b;
  other.pid = a.pid;
  other.register_time = a.register_time;
  return a == other;
}

}  // namespace appmesh::core

// What a user writes about an app: the writable fields of docs/wire.md#definition and our own of
// docs/wire.md#own-fields, checked once by parse_definition() and never changed afterwards (share it as
// shared_ptr<const AppDefinition>). Pure values, any thread. Fields whose behaviour comes later are parsed, checked,
// stored and written back all the same.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "core/error.h"
#include "core/metadata.h"
#include "core/time.h"

namespace appmesh::core {

enum class AppStatus : std::uint8_t { disabled = 0, enabled = 1, not_available = 2 };
enum class ExitAction : std::uint8_t { standby, restart, keepalive, remove };
enum class Leftovers : std::uint8_t { stop, leave };
enum class DependencyCondition : std::uint8_t { started, ready, healthy, completed };
enum class ReadinessKind : std::uint8_t { start, notify, health, log };

struct Behavior {
  ExitAction exit = ExitAction::standby;
  std::map<int, ExitAction> control;  // exit code (-64..255) to action
  Leftovers leftovers = Leftovers::stop;
  bool operator==(const Behavior&) const = default;
};

// Seconds of the UTC day, [start, end); start > end spans midnight, equal means the whole day.
struct DailyLimitation {
  std::int64_t daily_start = 0;  // 0..86399; epoch seconds are taken modulo a day when they are read
  std::int64_t daily_end = 0;
  [[nodiscard]] int start_of_day() const { return static_cast<int>(daily_start); }
  [[nodiscard]] int end_of_day() const { return static_cast<int>(daily_end); }
  bool operator==(const DailyLimitation&) const = default;
};

struct ResourceLimit {
  std::int64_t memory_mb = 0;       // 0: none
  std::int64_t memory_virt_mb = 0;  // memory + swap
  std::int64_t cpu_shares = 0;      // 2..262144
  std::int64_t pids = 0;
  bool operator==(const ResourceLimit&) const = default;
};

struct Readiness {
  ReadinessKind by = ReadinessKind::start;
  std::string pattern;
  std::int64_t timeout_seconds = 0;
  bool operator==(const Readiness&) const = default;
};

// A duration or cron text as the user wrote it; the wire echoes it as a string.
struct DurationText {
  std::string text;
  std::chrono::seconds value{0};
  bool operator==(const DurationText&) const = default;
};

struct AppDefinition {
  std::string name;
  std::string owner;  // see name_of_owner() in access.h
  std::string command;
  std::string description;
  std::string working_dir;
  std::string docker_image;
  std::string health_check_cmd;
  Metadata metadata;
  std::map<std::string, std::string> env;
  std::optional<std::map<std::string, std::string>>
      sec_env;  // plain here; sealed by the store, never written to the API
  Behavior behavior;
  std::optional<DailyLimitation> daily_limitation;
  std::optional<ResourceLimit> resource_limit;
  std::optional<DurationText> retention;
  std::optional<DurationText> start_interval;  // with cron: text is the expression and value is 0
  std::map<std::string, DependencyCondition> depends_on;
  std::optional<Readiness> readiness;
  std::int64_t start_time = 0;  // epoch seconds, 0: none
  std::int64_t end_time = 0;
  std::int64_t register_time = 0;
  std::int64_t version = 0;
  std::int64_t watchdog_seconds = 0;
  std::uint32_t stdout_cache_num = 0;
  std::uint32_t permission = 0;  // decimal digits from the right: group, others; one more is kept and means nothing
  std::uint32_t instances = 1;
  std::int32_t pid = 0;  // attach request; never persisted
  AppStatus status = AppStatus::enabled;
  bool shell = false;
  bool session_login = false;
  bool cron = false;
  bool start_missed = false;

  bool operator==(const AppDefinition&) const = default;
};

// A field that nobody asked for, "behavior.exti", made harmless for a message; and the known one that looks like it.
struct UnknownField {
  std::string name;
  std::string nearest;  // empty: none does
  bool operator==(const UnknownField&) const = default;
};

struct ParsedDefinition {
  AppDefinition definition;
  std::vector<UnknownField> unknown_fields;
};

// An error that names them all, for what the caller does not take.
[[nodiscard]] Result<void> refuse_unknown(const std::vector<UnknownField>& fields);
// "nmae, behavior.exti", for a caller who takes the rest; empty when there are none.
[[nodiscard]] std::string names_of(const std::vector<UnknownField>& fields);

// Reads and checks one JSON object. Errors: invalid_argument that names the field and the reason. JSON null means
// absent. Read-only runtime fields are ignored, not unknown, and the names that clients of the 3.x generation have for
// some fields are those fields. Whether command or docker_image is required depends on the
// caller (an on-demand copy has neither): see require_program(). `source` is the text that `json` was read from:
// metadata is taken from there, so that it stays as it was written; without a source it is written anew.
[[nodiscard]] Result<ParsedDefinition> parse_definition(const boost::json::object& json, std::string_view source = {});
[[nodiscard]] Result<void> require_program(const AppDefinition& definition);
[[nodiscard]] Result<void> check_app_name(std::string_view name);

enum class SecretFields : std::uint8_t { omit, include };

// Writes the definition with the contract's names and types; defaults are left out except name, status, register_time
// and behavior. Metadata is not part of it, because a number in it would lose its spelling: definition_text() has it
// too, and what that writes parses back to an equal definition.
[[nodiscard]] boost::json::object write_definition(const AppDefinition& definition, SecretFields secrets);
[[nodiscard]] std::string definition_text(const AppDefinition& definition, SecretFields secrets);

// Whether going from one definition to another needs a new process (docs/wire.md#state): only fields that the running
// process sees.
[[nodiscard]] bool needs_restart(const AppDefinition& from, const AppDefinition& to);

// A short text that is the same for two definitions as long as needs_restart() is false between them, whichever version
// of this program made it. It stands in the tag of a run, so that a run can be compared with its definition later.
[[nodiscard]] std::string run_fingerprint(const AppDefinition& definition);

// What a PUT onto an existing app keeps of the stored definition (docs/wire.md#state): the registration time, and
// sec_env when the new definition does not say it.
[[nodiscard]] AppDefinition keep_stored_fields(const AppDefinition& stored, AppDefinition put);

// Equal in everything that a user defines; the registration time and a request to attach are not part of that.
[[nodiscard]] bool same_definition(const AppDefinition& a, const AppDefinition& b);

// The argv that runs the command: POSIX shell quoting rules when not shell, else /bin/bash -e -c (or /bin/sh).
// Errors: invalid_argument for an unbalanced quote or an empty command.
[[nodiscard]] Result<std::vector<std::string>> split_command(std::string_view command);

[[nodiscard]] std::string_view to_string(ExitAction action);
[[nodiscard]] std::string_view to_string(DependencyCondition condition);
[[nodiscard]] std::string_view to_string(ReadinessKind kind);

}  // namespace appmesh::core

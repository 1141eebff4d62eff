#include "store/configuration.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <sys/utsname.h>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "core/text.h"
#include "core/version.h"
#include "platform/time_zone.h"
#include "store/config_changes.h"
#include "store/config_file.h"
#include "store/config_keys.h"
#include "store/home_paths.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;
using Labels = std::map<std::string, std::string>;

std::string host_name() {
  utsname name{};
  return ::uname(&name) == 0 ? std::string(name.nodename) : std::string("localhost");
}

std::string os_version() {
  std::ifstream file("/etc/os-release");
  std::string line;
  constexpr std::string_view kPrefix = "PRETTY_NAME=";
  while (std::getline(file, line)) {
    if (!line.starts_with(kPrefix)) continue;
    line.erase(0, kPrefix.size());
    std::erase(line, '"');
    return line;
  }
  utsname name{};
  return ::uname(&name) == 0 ? std::string(name.sysname) + " " + name.release : std::string("Linux");
}

Labels automatic_labels() {
  utsname name{};
  ::uname(&name);
  return {{"HOST_NAME", host_name()}, {"arch", name.machine}, {"os_version", os_version()}};
}

json::object default_document() {
  json::object document;
  for (const auto& key : config_keys()) set_at(document, key.name, json::parse(key.default_json));
  document[kLabels] = json::object();
  return document;
}

// The leaves of a partial document: known keys with checked values, labels, and what is unknown.
struct Leaves {
  std::vector<std::pair<const ConfigKey*, json::value>> values;
  Labels labels;
  std::vector<std::string> unknown;
};

Result<void> collect_labels(const json::value& value, Leaves& out) {
  if (value.is_null()) return {};
  if (!value.is_object()) return fail(ErrorKind::invalid_argument, "configuration key Labels: must be an object");
  for (const auto& [name, text] : value.get_object()) {
    if (text.is_null()) continue;
    if (!text.is_string()) {
      return fail(ErrorKind::invalid_argument,
                  "configuration key Labels." + std::string(name).substr(0, 128) + ": must be a text");
    }
    if (auto good = check_label(name, text.get_string()); !good) return good;
    out.labels.emplace(name, std::string(text.get_string()));
  }
  return {};
}

Result<void> collect(const json::object& from, const std::string& prefix, Leaves& out) {
  for (const auto& [part, value] : from) {
    const auto name = prefix + std::string(part);
    if (prefix.empty() && part == kVersionKey) continue;
    if (prefix.empty() && part == kLabels) {
      if (auto done = collect_labels(value, out); !done) return done;
      continue;
    }
    if (const auto* key = find_config_key(name)) {
      if (value.is_null()) continue;
      auto checked = check_value(*key, value);
      if (!checked) return std::unexpected(checked.error());
      out.values.emplace_back(key, std::move(*checked));
    } else if (is_config_section(name)) {
      if (value.is_null()) continue;
      if (!value.is_object()) {
        return fail(ErrorKind::invalid_argument, "configuration key " + name + ": must be an object");
      }
      if (auto done = collect(value.get_object(), name + ".", out); !done) return done;
    } else {
      out.unknown.push_back(name.substr(0, 256));
    }
  }
  return {};
}

// APPMESH_REST_RestListenPort -> REST.RestListenPort. Names hold no '_', so the match is exact.
const ConfigKey* key_of_variable(std::string_view variable) {
  for (const auto& key : config_keys()) {
    if (key.name.size() != variable.size()) continue;
    if (std::ranges::equal(key.name, variable, [](char k, char v) { return k == v || (k == '.' && v == '_'); })) {
      return &key;
    }
  }
  return nullptr;
}

Result<void> apply_environment(const Configuration::Environment& environment, json::object& effective, Labels& labels,
                               std::vector<std::string>& warnings) {
  constexpr std::string_view kPrefix = "APPMESH_";
  constexpr std::string_view kLabelPrefix = "Labels_";
  bool level_given = false;
  const auto set = [&](const std::string& variable, const ConfigKey& key, std::string_view text) -> Result<void> {
    auto value = parse_value(key, text);
    if (!value) return fail(value.error().kind, "environment variable " + variable + ": " + value.error().message);
    set_at(effective, key.name, std::move(*value));
    return {};
  };
  for (const auto& [variable, text] : environment) {
    if (!variable.starts_with(kPrefix)) continue;
    const auto rest = std::string_view(variable).substr(kPrefix.size());
    if (const auto* key = key_of_variable(rest)) {
      if (auto done = set(variable, *key, text); !done) return done;
      level_given = level_given || key->name == "BaseConfig.LogLevel";
    } else if (rest.starts_with(kLabelPrefix)) {
      const auto label = labels.find(std::string(rest.substr(kLabelPrefix.size())));
      if (label == labels.end()) {
        warnings.push_back("environment variable " + variable + " names no label and is ignored");
      } else if (auto good = check_label(label->first, text); !good) {
        return fail(good.error().kind, "environment variable " + variable + ": " + good.error().message);
      } else {
        label->second = text;
      }
    } else if (rest.starts_with("BaseConfig_") || rest.starts_with("REST_")) {
      warnings.push_back("environment variable " + variable + " names no configuration key and is ignored");
    }
  }
  if (level_given) return {};
  for (const auto& [variable, text] : environment) {
    if (variable != "LOG_LEVEL" || text.empty()) continue;
    // Other programs know this variable too, with levels of their own.
    if (auto done = set(variable, *find_config_key("BaseConfig.LogLevel"), text); !done) {
      warnings.push_back(done.error().message + "; ignored");
    }
  }
  return {};
}

class Decoder {
 public:
  Decoder(const json::object& document, const std::filesystem::path& home) : document_(document), home_(home) {}

  Settings decode() const {
    Settings s;
    s.base.description = text("BaseConfig.Description");
    s.base.default_exec_user = text("BaseConfig.DefaultExecUser");
    s.base.disable_exec_user = boolean("BaseConfig.DisableExecUser");
    const auto interval = integer("BaseConfig.ScheduleIntervalSeconds");
    s.base.schedule_interval = std::chrono::seconds(interval >= 1 && interval <= 100 ? interval : 2);
    s.base.working_directory = path("BaseConfig.WorkingDirectory").value_or(home_ / "work");
    s.base.log_level = static_cast<LogLevel>(choice("BaseConfig.LogLevel"));
    s.base.posix_timezone = text("BaseConfig.PosixTimezone");
    s.base.stop_grace = std::chrono::seconds(integer("BaseConfig.StopGraceSeconds"));
    s.base.inherit_env = list("BaseConfig.InheritEnv");
    s.base.health_check_interval = std::chrono::seconds(integer("BaseConfig.HealthCheckSeconds"));
    s.base.output_limit_bytes = static_cast<std::uint64_t>(integer("BaseConfig.OutputLimitBytes"));
    s.base.backoff_limit = std::chrono::seconds(integer("BaseConfig.BackoffLimitSeconds"));

    auto& rest = s.rest;
    rest.enabled = boolean("REST.RestEnabled");
    rest.listen_address = text("REST.RestListenAddress");
    rest.listen_port = port("REST.RestListenPort");
    rest.tcp_port = port("REST.RestTcpPort");
    rest.websocket_port = port("REST.WebSocketPort");
    rest.prometheus_port = port("REST.PrometheusExporterListenPort");
    rest.worker_threads = static_cast<unsigned>(integer("REST.WorkerThreadPoolSize"));
    rest.io_threads = static_cast<unsigned>(integer("REST.IOThreadPoolSize"));
    rest.password_complexity = boolean("REST.PasswordComplexityEnabled");
    rest.totp_replay_protection = boolean("REST.TotpReplayProtection");
    rest.cors_disabled = boolean("REST.CorsDisabled");
    rest.csrf_allowed_origins = list("REST.CsrfAllowedOrigins");
    rest.forward_targets = list("REST.ForwardTargets");
    rest.file_allowed_base_dir = text("REST.FileAllowedBaseDir");

    rest.jwt.salt = text("REST.JWT.JWTSalt");
    rest.jwt.algorithm = static_cast<JwtAlgorithm>(choice("REST.JWT.Algorithm"));
    rest.jwt.issuer = text("REST.JWT.Issuer");
    if (rest.jwt.issuer.empty()) rest.jwt.issuer = host_name();
    rest.jwt.audience = list("REST.JWT.Audience");
    rest.jwt.security_interface = static_cast<SecurityInterface>(choice("REST.JWT.SecurityInterface"));

    const auto file = [&](std::string_view name) { return path(name).value_or(std::filesystem::path()); };
    rest.ssl.ca_path = file("REST.SSL.SSLCaPath");
    rest.ssl.certificate_file = file("REST.SSL.SSLCertificateFile");
    rest.ssl.certificate_key_file = file("REST.SSL.SSLCertificateKeyFile");
    rest.ssl.client_certificate_file = file("REST.SSL.SSLClientCertificateFile");
    rest.ssl.client_certificate_key_file = file("REST.SSL.SSLClientCertificateKeyFile");
    rest.ssl.verify_client = boolean("REST.SSL.VerifyClient");
    rest.ssl.verify_server = boolean("REST.SSL.VerifyServer");
    rest.ssl.verify_server_delegate = boolean("REST.SSL.VerifyServerDelegate");

    for (const auto& [name, value] : document_.at(kLabels).as_object()) {
      s.labels.emplace(name, std::string(value.as_string()));
    }
    return s;
  }

 private:
  // Every value was checked against its row of the table, so the wrong type here is a bug.
  [[nodiscard]] const json::value& at(std::string_view name) const {
    const auto* value = value_at(document_, name);
    if (value == nullptr) throw std::logic_error("no default for " + std::string(name));
    return *value;
  }
  [[nodiscard]] std::string text(std::string_view name) const { return std::string(at(name).as_string()); }
  [[nodiscard]] bool boolean(std::string_view name) const { return at(name).as_bool(); }
  [[nodiscard]] std::int64_t integer(std::string_view name) const { return at(name).as_int64(); }
  [[nodiscard]] std::uint16_t port(std::string_view name) const { return static_cast<std::uint16_t>(integer(name)); }
  [[nodiscard]] std::vector<std::string> list(std::string_view name) const {
    std::vector<std::string> entries;
    for (const auto& entry : at(name).as_array()) entries.emplace_back(entry.as_string());
    return entries;
  }
  // Position among the choices, which is the order of the enumerators.
  [[nodiscard]] int choice(std::string_view name) const {
    const auto choices = find_config_key(name)->choices;
    const auto chosen = text(name);
    return static_cast<int>(std::ranges::count(choices.substr(0, choices.find(chosen)), ','));
  }
  [[nodiscard]] std::optional<std::filesystem::path> path(std::string_view name) const {
    const auto written = text(name);
    if (written.empty()) return std::nullopt;
    return (home_ / written).lexically_normal();  // an absolute one replaces home
  }

  const json::object& document_;
  const std::filesystem::path& home_;
};

std::unexpected<Error> refuse(std::string_view key, const std::string& reason) {
  return fail(ErrorKind::invalid_argument, "configuration key " + std::string(key) + ": " + reason);
}

// What one row of the table cannot say.
Result<void> check_together(const Settings& s) {
  in6_addr address{};
  const auto& listen = s.rest.listen_address;
  if (::inet_pton(AF_INET, listen.c_str(), &address) != 1 && ::inet_pton(AF_INET6, listen.c_str(), &address) != 1) {
    return refuse("REST.RestListenAddress", "must be an IPv4 or IPv6 address");
  }
  const std::pair<std::string_view, std::uint16_t> ports[] = {
      {"REST.RestListenPort", s.rest.listen_port},
      {"REST.RestTcpPort", s.rest.tcp_port},
      {"REST.WebSocketPort", s.rest.websocket_port},
      {"REST.PrometheusExporterListenPort", s.rest.prometheus_port},
  };
  for (const auto& [name, port] : ports) {
    for (const auto& [other_name, other] : ports) {
      if (port != 0 && port == other && other_name < name) {
        return refuse(name, "port " + std::to_string(port) + " is also that of " + std::string(other_name));
      }
    }
  }
  if (const auto port = s.rest.prometheus_port; port > 0 && port <= 1024) {
    return refuse("REST.PrometheusExporterListenPort", "must be 0 or above 1024");
  }
  if (!s.rest.file_allowed_base_dir.empty() && !s.rest.file_allowed_base_dir.is_absolute()) {
    return refuse("REST.FileAllowedBaseDir", "must be empty or an absolute path");
  }
  for (const auto* needed : {"appmesh-service", "appmesh-file-service"}) {
    if (std::ranges::find(s.rest.jwt.audience, needed) == s.rest.jwt.audience.end()) {
      return refuse("REST.JWT.Audience", "must contain " + std::string(needed));
    }
  }
  for (const auto& name : s.base.inherit_env) {
    if (name.find('=') != std::string::npos)
      return refuse("BaseConfig.InheritEnv", "lists names of variables, without '='");
  }
  if (s.labels.size() > kMaxLabels) {
    return refuse(kLabels, "there can be at most " + std::to_string(kMaxLabels) + " labels");
  }
  return {};
}

}  // namespace

Configuration::Configuration(std::filesystem::path home, Environment environment)
    : home_(std::move(home)), environment_(std::move(environment)), automatic_labels_(automatic_labels()) {}

Result<std::unique_ptr<Configuration>> Configuration::load(const std::filesystem::path& home, Environment environment) {
  std::unique_ptr<Configuration> configuration(new Configuration(home_paths(home).home, std::move(environment)));
  auto state = configuration->read();
  if (!state) return std::unexpected(state.error());
  configuration->state_ = std::move(*state);
  return configuration;
}

Result<std::unique_ptr<Configuration>> Configuration::load(const std::filesystem::path& home) {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return load(home, std::move(environment));
}

Result<Configuration::State> Configuration::read() const {
  const auto paths = home_paths(home_);
  for (const auto& file : {paths.config_file, paths.config / "config.yaml"}) {
    auto document = read_config_file(file);
    std::error_code ignored;
    const bool is_absent =
        std::filesystem::symlink_status(file, ignored).type() == std::filesystem::file_type::not_found;
    if (!document && is_absent) continue;  // a link that leads nowhere is there
    if (!document) return std::unexpected(document.error());
    auto state = derive(std::move(*document));
    if (!state)
      return fail(state.error().kind,
                  file.string() + ": " + line_of_refusal(file, state.error().message) + state.error().message);
    return state;
  }
  return derive({});
}

Result<Configuration::State> Configuration::derive(json::object saved) const {
  Leaves leaves;
  if (auto done = collect(saved, "", leaves); !done) return std::unexpected(done.error());
  State state;
  for (const auto& name : leaves.unknown)
    state.warnings.push_back("configuration key " + name + " is unknown and ignored");

  state.effective = default_document();
  for (auto& [key, value] : leaves.values) set_at(state.effective, key->name, std::move(value));
  auto labels = automatic_labels_;
  for (auto& [name, value] : leaves.labels) labels[name] = value;
  if (auto done = apply_environment(environment_, state.effective, labels, state.warnings); !done) {
    return std::unexpected(done.error());
  }
  for (const auto& [name, value] : labels) state.effective[kLabels].as_object()[name] = value;

  auto settings = std::make_shared<Settings>(Decoder(state.effective, home_).decode());
  if (auto good = check_together(*settings); !good) return std::unexpected(good.error());
  constexpr std::size_t kGoodSaltBytes = 32;  // RFC 7518 section 3.2
  if (const auto& jwt = settings->rest.jwt; !jwt.salt.empty() && jwt.salt.size() < kGoodSaltBytes) {
    state.warnings.push_back("configuration key REST.JWT.JWTSalt is shorter than 32 bytes and can be guessed");
  }
  state.settings = std::move(settings);
  state.saved = std::move(saved);
  return state;
}

std::shared_ptr<const Settings> Configuration::settings() const {
  const std::lock_guard lock(state_mutex_);
  return state_.settings;
}

std::vector<std::string> Configuration::warnings() const {
  const std::lock_guard lock(state_mutex_);
  return state_.warnings;
}

Configuration::State Configuration::snapshot() const {
  const std::lock_guard lock(state_mutex_);
  return state_;
}

json::object Configuration::view() const {
  auto shown = snapshot().effective;
  for (const auto& key : config_keys()) {
    if (!key.secret) continue;
    if (const auto* value = value_at(shown, key.name); value->as_string().empty()) continue;
    set_at(shown, key.name, json::value(kRedacted));
  }
  shown[kVersionKey] = kVersion;
  return shown;
}

std::map<std::string, std::string> Configuration::labels() const {
  return settings()->labels;
}

void Configuration::observe(Observer observer) {
  const std::lock_guard lock(writers_);
  observers_.push_back(std::move(observer));
}

Configuration::Changes Configuration::publish(State state) {
  Changes changes = describe_changes(snapshot().saved, state.saved);
  const auto settings = state.settings;
  {
    const std::lock_guard lock(state_mutex_);
    state_ = std::move(state);
  }
  for (const auto& observer : observers_) observer(*settings);
  return changes;
}

Result<Configuration::Changes> Configuration::reload() {
  const std::lock_guard lock(writers_);
  auto state = read();
  if (!state) return std::unexpected(state.error());
  return publish(std::move(*state));
}

Result<Configuration::Changes> Configuration::commit(json::object saved) {
  auto state = derive(std::move(saved));
  if (!state) return std::unexpected(state.error());
  // A host may have lost its zone files; then what was configured before stays so and is told in the log.
  if (const auto& zone = state->settings->base.posix_timezone; zone != settings()->base.posix_timezone)
    if (const auto known = platform::load_zone(zone); !known)
      return refuse("BaseConfig.PosixTimezone", known.error().message);
  if (auto written = write_config_file(home_paths(home_).config_file, state->saved); !written)
    return std::unexpected(std::move(written.error()));
  return publish(std::move(*state));
}

Result<Configuration::Changes> Configuration::update(const json::object& change, KeyClass most) {
  Leaves leaves;
  if (auto done = collect(change, "", leaves); !done) return std::unexpected(std::move(done.error()));
  if (!leaves.unknown.empty()) {
    std::vector<std::string_view> names;
    for (const auto& key : config_keys()) names.push_back(key.name);
    const std::string_view nearest = core::nearest_word(leaves.unknown.front(), names);
    return refuse(leaves.unknown.front(),
                  nearest.empty() ? "is unknown" : "is unknown, did you mean " + std::string(nearest) + '?');
  }

  const std::lock_guard lock(writers_);
  auto now = snapshot();
  bool is_changed = false;
  for (auto& [key, value] : leaves.values) {
    if (key->secret && value == json::value(kRedacted)) continue;
    // Whoever sends the whole view back means only what he changed; the rest may come from the environment. A secret
    // that may not be changed is not compared, or the answer would confirm a guess.
    const bool is_allowed = key->decides <= most;
    const auto& current = *value_at(now.effective, key->name);
    const bool is_hidden = key->secret && !current.get_string().empty();
    if ((is_allowed || !is_hidden) && current == value) continue;
    if (!is_allowed)
      return fail(ErrorKind::permission_denied,
                  "configuration key " + std::string(key->name) +
                      ": decides security, so it comes from the file, or needs permission 'config-security'");
    set_at(now.saved, key->name, std::move(value));
    is_changed = true;
  }
  for (const auto& [name, value] : leaves.labels) {
    const auto current = now.settings->labels.find(name);
    if (current != now.settings->labels.end() && current->second == value) continue;
    auto& labels = now.saved[kLabels];
    if (!labels.is_object()) labels.emplace_object();
    labels.get_object()[name] = value;
    is_changed = true;
  }
  return is_changed ? commit(std::move(now.saved)) : Result<Changes>{};
}

Result<Configuration::Changes> Configuration::set_label(const std::string& name, const std::string& value) {
  if (auto good = check_label(name, value); !good) return std::unexpected(std::move(good.error()));
  json::object labels;
  labels[name] = value;
  json::object change;
  change[kLabels] = std::move(labels);
  return update(change, KeyClass::ordinary);
}

Result<Configuration::Changes> Configuration::delete_label(const std::string& name) {
  const std::lock_guard lock(writers_);
  auto saved = snapshot().saved;
  auto* labels = saved.if_contains(kLabels);
  if (labels == nullptr || !labels->is_object() || labels->get_object().erase(name) == 0) return Changes{};
  return commit(std::move(saved));
}

}  // namespace appmesh::store

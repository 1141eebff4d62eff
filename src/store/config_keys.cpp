#include "store/config_keys.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <boost/json/array.hpp>
#include <strings.h>

namespace appmesh::store {
namespace {

namespace json = boost::json;

constexpr std::int64_t kMaxPort = 65535;
constexpr std::int64_t kYear = 365LL * 24 * 3600;

constexpr ConfigKey kKeys[] = {
    {"BaseConfig.Description", KeyClass::ordinary, KeyKind::text, R"("MYHOST")"},
    {"BaseConfig.DefaultExecUser", KeyClass::security, KeyKind::text, R"("")"},
    {"BaseConfig.DisableExecUser", KeyClass::security, KeyKind::boolean, "false"},
    // Outside 1..100 means 2, so every integer is accepted here.
    {"BaseConfig.ScheduleIntervalSeconds", KeyClass::ordinary, KeyKind::integer, "1",
     std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()},
    // Where "./run" of everybody's apps is looked for.
    {"BaseConfig.WorkingDirectory", KeyClass::security, KeyKind::text, R"("")"},
    {"BaseConfig.LogLevel", KeyClass::ordinary, KeyKind::choice, R"("INFO")", 0, 0, "DEBUG,INFO,NOTICE,WARN,ERROR"},
    {"BaseConfig.PosixTimezone", KeyClass::ordinary, KeyKind::text, R"("+08")"},
    {"BaseConfig.StopGraceSeconds", KeyClass::ordinary, KeyKind::integer, "3", 0, 24 * 3600},
    {"BaseConfig.InheritEnv", KeyClass::security, KeyKind::list, "[]"},
    {"BaseConfig.HealthCheckSeconds", KeyClass::ordinary, KeyKind::integer, "10", 1, 3600},
    {"BaseConfig.OutputLimitBytes", KeyClass::ordinary, KeyKind::integer, "104857600", 64 * 1024, 1LL << 50},
    {"BaseConfig.BackoffLimitSeconds", KeyClass::ordinary, KeyKind::integer, "300", 0, kYear},
    {"REST.RestEnabled", KeyClass::security, KeyKind::boolean, "true"},
    {"REST.RestListenAddress", KeyClass::security, KeyKind::text, R"("127.0.0.1")"},
    {"REST.RestListenPort", KeyClass::security, KeyKind::integer, "6060", 1, kMaxPort},
    {"REST.RestTcpPort", KeyClass::security, KeyKind::integer, "6059", 0, kMaxPort},
    {"REST.WebSocketPort", KeyClass::security, KeyKind::integer, "6058", 0, kMaxPort},
    {"REST.PrometheusExporterListenPort", KeyClass::security, KeyKind::integer, "0", 0, kMaxPort},
    {"REST.WorkerThreadPoolSize", KeyClass::ordinary, KeyKind::integer, "2", 1, 99},
    {"REST.IOThreadPoolSize", KeyClass::ordinary, KeyKind::integer, "2", 1, 99},
    {"REST.PasswordComplexityEnabled", KeyClass::security, KeyKind::boolean, "false"},
    {"REST.TotpReplayProtection", KeyClass::security, KeyKind::boolean, "true"},
    {"REST.CorsDisabled", KeyClass::security, KeyKind::boolean, "false"},
    {"REST.CsrfAllowedOrigins", KeyClass::security, KeyKind::list, "[]"},
    {"REST.ForwardTargets", KeyClass::security, KeyKind::list, "[]"},
    {"REST.FileAllowedBaseDir", KeyClass::security, KeyKind::text, R"("")"},
    {"REST.JWT.JWTSalt", KeyClass::security, KeyKind::text, R"("")", 0, 0, {}, true},
    {"REST.JWT.Algorithm", KeyClass::security, KeyKind::choice, R"("HS256")", 0, 0, "HS256,RS256,ES256"},
    {"REST.JWT.Issuer", KeyClass::security, KeyKind::text, R"("")"},
    {"REST.JWT.Audience", KeyClass::security, KeyKind::list,
     R"(["appmesh-service","appmesh-file-service","your-service-api"])"},
    {"REST.JWT.SecurityInterface", KeyClass::security, KeyKind::choice, R"("local")", 0, 0, "local,consul,oauth2"},
    {"REST.SSL.SSLCaPath", KeyClass::security, KeyKind::text, R"("ssl/ca.pem")"},
    {"REST.SSL.SSLCertificateFile", KeyClass::security, KeyKind::text, R"("ssl/server.pem")"},
    {"REST.SSL.SSLCertificateKeyFile", KeyClass::security, KeyKind::text, R"("ssl/server-key.pem")"},
    {"REST.SSL.SSLClientCertificateFile", KeyClass::security, KeyKind::text, R"("ssl/client.pem")"},
    {"REST.SSL.SSLClientCertificateKeyFile", KeyClass::security, KeyKind::text, R"("ssl/client-key.pem")"},
    {"REST.SSL.VerifyClient", KeyClass::security, KeyKind::boolean, "false"},
    {"REST.SSL.VerifyServer", KeyClass::security, KeyKind::boolean, "false"},
    {"REST.SSL.VerifyServerDelegate", KeyClass::security, KeyKind::boolean, "false"},
};

std::unexpected<Error> refuse(std::string_view name, std::string_view reason) {
  return fail(ErrorKind::invalid_argument, "configuration key " + std::string(name) + ": " + std::string(reason));
}

bool has_control_character(std::string_view text) {
  return std::ranges::any_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

Result<void> check_text(std::string_view name, std::string_view text) {
  if (text.size() > kMaxTextBytes) return refuse(name, "must have at most " + std::to_string(kMaxTextBytes) + " bytes");
  if (has_control_character(text)) return refuse(name, "must not contain control characters");
  return {};
}

Result<json::value> check_integer(const ConfigKey& key, std::int64_t value) {
  if (value < key.min || value > key.max) {
    return refuse(key.name, "must be from " + std::to_string(key.min) + " to " + std::to_string(key.max));
  }
  return json::value(value);
}

Result<json::value> check_choice(const ConfigKey& key, std::string_view text) {
  std::string_view rest = key.choices;
  while (!rest.empty()) {
    const auto choice = rest.substr(0, rest.find(','));
    if (choice.size() == text.size() && ::strncasecmp(choice.data(), text.data(), text.size()) == 0) {
      return json::value(choice);
    }
    rest.remove_prefix(std::min(rest.size(), choice.size() + 1));
  }
  return refuse(key.name, "must be one of " + std::string(key.choices));
}

Result<json::value> check_list(const ConfigKey& key, const json::array& list) {
  if (list.size() > kMaxListEntries) {
    return refuse(key.name, "must have at most " + std::to_string(kMaxListEntries) + " entries");
  }
  for (const auto& entry : list) {
    if (!entry.is_string() || entry.get_string().empty()) return refuse(key.name, "must be a list of non-empty texts");
    if (auto good = check_text(key.name, entry.get_string()); !good) return std::unexpected(good.error());
  }
  return json::value(list);
}

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

const ConfigKey* find_config_key(std::string_view name) {
  const auto* found = std::ranges::find(kKeys, name, &ConfigKey::name);
  return found == std::end(kKeys) ? nullptr : found;
}

bool is_config_section(std::string_view name) {
  return std::ranges::any_of(kKeys, [&](const ConfigKey& key) {
    return key.name.size() > name.size() && key.name.starts_with(name) && key.name[name.size()] == '.';
  });
}

Result<json::value> check_value(const ConfigKey& key, const json::value& value) {
  switch (key.kind) {
    case KeyKind::text:
      if (!value.is_string()) return refuse(key.name, "must be a text");
      if (auto good = check_text(key.name, value.get_string()); !good) return std::unexpected(good.error());
      return value;
    case KeyKind::boolean:
      if (!value.is_bool()) return refuse(key.name, "must be true or false");
      return value;
    case KeyKind::integer:
      if (value.is_int64()) return check_integer(key, value.get_int64());
      if (value.is_uint64()) return refuse(key.name, "is too large");
      // Clients whose only number type is floating point send whole numbers that way.
      if (value.is_double() && std::abs(value.get_double()) < 9e15 &&
          value.get_double() == std::floor(value.get_double())) {
        return check_integer(key, static_cast<std::int64_t>(value.get_double()));
      }
      return refuse(key.name, "must be an integer");
    case KeyKind::list:
      if (!value.is_array()) return refuse(key.name, "must be a list");
      return check_list(key, value.get_array());
    case KeyKind::choice:
      if (!value.is_string()) return refuse(key.name, "must be one of " + std::string(key.choices));
      return check_choice(key, value.get_string());
  }
  return refuse(key.name, "is of no known kind");
}

Result<json::value> parse_value(const ConfigKey& key, std::string_view text) {
  switch (key.kind) {
    case KeyKind::text:
    case KeyKind::choice:
      return check_value(key, json::value(text));
    case KeyKind::boolean: {
      const auto is = [&](std::string_view word) {
        return word.size() == text.size() && ::strncasecmp(word.data(), text.data(), text.size()) == 0;
      };
      if (is("true") || is("yes") || is("on") || is("1")) return json::value(true);
      if (is("false") || is("no") || is("off") || is("0")) return json::value(false);
      return refuse(key.name, "must be true or false");
    }
    case KeyKind::integer: {
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error == std::errc::result_out_of_range) return refuse(key.name, "is out of range");
      if (error != std::errc{} || end != text.data() + text.size()) return refuse(key.name, "must be an integer");
      return check_integer(key, number);
    }
    case KeyKind::list: {
      json::array list;
      while (!text.empty()) {
        auto entry = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), entry.size() + 1));
        while (entry.starts_with(' ')) entry.remove_prefix(1);
        while (entry.ends_with(' ')) entry.remove_suffix(1);
        if (!entry.empty()) list.emplace_back(entry);
      }
      return check_list(key, list);
    }
  }
  return refuse(key.name, "is of no known kind");
}

Result<void> check_label(std::string_view name, std::string_view value) {
  const auto shown = std::string(name.substr(0, 32));
  if (name.empty() || name.size() > 128) {
    return fail(ErrorKind::invalid_argument, "label name must have 1 to 128 characters");
  }
  if (has_control_character(name) || name.find('/') != std::string_view::npos) {
    return fail(ErrorKind::invalid_argument, "label name must be printable and without '/'");
  }
  if (value.size() > 1024) {
    return fail(ErrorKind::invalid_argument, "label " + shown + ": value must have at most 1024 bytes");
  }
  if (has_control_character(value)) {
    return fail(ErrorKind::invalid_argument, "label " + shown + ": value must not contain control characters");
  }
  return {};
}

void set_at(json::object& root, std::string_view name, json::value value) {
  json::object* at = &root;
  for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
    auto& next = (*at)[name.substr(0, dot)];
    if (!next.is_object()) next.emplace_object();
    at = &next.get_object();
    name.remove_prefix(dot + 1);
  }
  (*at)[name] = std::move(value);
}

const json::value* value_at(const json::object& root, std::string_view name) {
  const json::object* at = &root;
  for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
    const auto* next = at->if_contains(name.substr(0, dot));
    if (next == nullptr || !next->is_object()) return nullptr;
    at = &next->get_object();
    name.remove_prefix(dot + 1);
  }
  return at->if_contains(name);
}

}  // namespace appmesh::store

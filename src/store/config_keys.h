// The table of configuration keys: name, kind, default, bounds (docs/configuration.md), and the functions that
// check a value against its row. Internal to the store. Constant data and pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "core/error.h"
#include "store/configuration.h"

namespace appmesh::store {

enum class KeyKind : std::uint8_t { text, boolean, integer, list, choice };

struct ConfigKey {
  std::string_view name;  // "REST.SSL.VerifyClient"
  KeyClass decides = KeyClass::security;
  KeyKind kind = KeyKind::text;
  std::string_view default_json;
  std::int64_t min = 0;  // of an integer
  std::int64_t max = 0;
  std::string_view choices;  // comma separated, as they are written
  bool secret = false;
};

inline constexpr std::size_t kMaxTextBytes = 4096;
inline constexpr std::size_t kMaxListEntries = 256;
inline constexpr std::size_t kMaxLabels = 1000;
inline constexpr std::string_view kRedacted = "******";
inline constexpr std::string_view kLabels = "Labels";
inline constexpr std::string_view kVersionKey = "Version";

[[nodiscard]] std::span<const ConfigKey> config_keys();
[[nodiscard]] const ConfigKey* find_config_key(std::string_view name);
[[nodiscard]] bool is_config_section(std::string_view name);  // "REST", "REST.SSL", ...

// The value in its normal form (integers as int64, choices as the table spells them). The error names the key.
[[nodiscard]] Result<boost::json::value> check_value(const ConfigKey& key, const boost::json::value& value);
// A value that comes as text: an environment variable or a plain YAML scalar.
[[nodiscard]] Result<boost::json::value> parse_value(const ConfigKey& key, std::string_view text);

[[nodiscard]] Result<void> check_label(std::string_view name, std::string_view value);

// Access by dotted name. set_at makes the objects on the way; value_at gives nullptr when there is none.
void set_at(boost::json::object& root, std::string_view name, boost::json::value value);
[[nodiscard]] const boost::json::value* value_at(const boost::json::object& root, std::string_view name);

}  // namespace appmesh::store

// The configuration's YAML file as JSON and back. Reading is bounded (size, depth, nodes after aliases are followed);
// writing goes to a temporary name, is fsynced and renamed. Internal to the store; blocks on the disk; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "core/error.h"

namespace appmesh::store {

inline constexpr std::size_t kMaxConfigBytes = 1024 * 1024;

// Plain scalars become what the key table says (a text key keeps "+08" as text); for unknown keys and everything quoted
// they stay texts. Errors: invalid_argument with file, line and reason; read_config_file() also refuses a file without
// any text, which was cut short rather than written so.
[[nodiscard]] Result<boost::json::object> parse_config_yaml(const std::string& text, const std::string& file_name);
[[nodiscard]] Result<boost::json::object> read_config_file(const std::filesystem::path& file);

// Of a refusal that names "configuration key A.B: …" in this file: "line 3: ", or nothing when the key is not there.
[[nodiscard]] std::string line_of_refusal(const std::filesystem::path& file, std::string_view message);

[[nodiscard]] Result<void> write_config_file(const std::filesystem::path& file, const boost::json::object& document);

}  // namespace appmesh::store

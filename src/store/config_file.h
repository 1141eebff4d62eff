// The configuration's YAML file as JSON and back. Reading is bounded (size, depth, nodes after aliases are followed);
// writing goes to a temporary name, is fsynced and renamed. Internal to the store; blocks on the disk; any thread.
#pragma once

#include <filesystem>
#include <string>

#include <boost/json/object.hpp>

#include "core/error.h"

namespace appmesh::store {

inline constexpr std::size_t kMaxConfigBytes = 1024 * 1024;

// Plain scalars become what the key table says (a text key keeps "+08" as text); for unknown keys and everything quoted
// they stay texts. Errors: invalid_argument with file, line and reason.
[[nodiscard]] Result<boost::json::object> parse_config_yaml(const std::string& text, const std::string& file_name);
[[nodiscard]] Result<boost::json::object> read_config_file(const std::filesystem::path& file);

[[nodiscard]] Result<void> write_config_file(const std::filesystem::path& file, const boost::json::object& document);

}  // namespace appmesh::store

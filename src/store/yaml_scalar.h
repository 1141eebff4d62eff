// What an unquoted YAML scalar means, shared by the reader and the writer of yaml.h so that they cannot disagree.
// Pure functions, any thread.
#pragma once

#include <string_view>

#include <boost/json/value.hpp>

namespace appmesh::store {

[[nodiscard]] boost::json::value resolve_plain_scalar(std::string_view text);

}  // namespace appmesh::store

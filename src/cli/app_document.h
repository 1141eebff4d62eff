// An app definition written by a person, in YAML or JSON, turned into the JSON of the wire. Unlike the wire, where
// unknown keys are ignored, a key that means nothing is refused by name: it is a typing mistake. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <boost/json/object.hpp>

namespace appmesh::cli {

inline constexpr std::size_t kMaxDocumentBytes = 1024 * 1024;

// Throws CliError(kFailed) that names `source`, the key and the reason. What only a running daemon can know (pid of a
// listing, return code, …) is left out, so that the output of `appc ls --format yaml` can be registered again.
boost::json::object parse_app_document(std::string_view text, const std::string& source);

}  // namespace appmesh::cli

// YAML text to JSON values and back, for the files that people edit. A strict subset: one document, no anchors, aliases
// or tags, no key twice, bounded size and depth; quoted scalars are always strings. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "core/error.h"

namespace appmesh::store {

// The longest metadata, when every byte of it is written as an escape, and the rest of a definition.
inline constexpr std::size_t kMaxYamlBytes = 8UL * 1024 * 1024;
inline constexpr int kMaxYamlDepth = 32;

// Keys from the top down to a scalar; elements of a sequence have the empty key.
using YamlPath = std::span<const std::string>;
// Says whether the place wants a string: then 0123, true and 1.50 are texts there, without quotes too.
using WantsString = std::function<bool(YamlPath)>;

// Where the keys of a document stand: "env.PATH" to its line, from 1. Keys inside sequences are left out.
using KeyLines = std::map<std::string, std::size_t, std::less<>>;
// Says whether the value at a place is not to be taken apart, but given as a string that holds it as JSON text, in
// which numbers keep their spelling.
using WantsJsonText = std::function<bool(YamlPath)>;

// The document must be a mapping. Unquoted scalars elsewhere follow the YAML 1.2 core schema, but for numbers with
// leading zeros, octal and hexadecimal ones, which stay texts. Errors: invalid_argument or too_large, with line and
// reason.
[[nodiscard]] Result<boost::json::object> parse_yaml(std::string_view text, const WantsString& wants_string,
                                                     const WantsJsonText& wants_json_text = {},
                                                     KeyLines* lines = nullptr);

// Block style, keys in the order given. A text with a quote or a backslash in it stands in single quotes when that is
// all it needs. What this writes parses back to an equal object (doubles included), whatever
// wants_string says.
[[nodiscard]] std::string write_yaml(const boost::json::object& object);

}  // namespace appmesh::store

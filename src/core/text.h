// Small questions about text that came from outside. Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>

namespace appmesh::core {

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);

// The text cut to 64 bytes and everything but printable ASCII replaced by '?', so that it may stand in a message, a log
// line or a header.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace appmesh::core

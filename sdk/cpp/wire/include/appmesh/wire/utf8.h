// Is it UTF-8, and how to make it so. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace appmesh::wire {

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. ASCII is passed eight bytes at a time.
[[nodiscard]] bool is_utf8(std::string_view text);

// How many bytes at the end, 0 to 3, are the beginning of a character that more bytes could complete.
[[nodiscard]] std::size_t incomplete_tail(std::string_view text);

// UTF-8 whatever came in: U+FFFD for each longest beginning of a character that does not go on as one, and for each
// other byte that is no part of one (Unicode, section 3.9, "maximal subparts").
[[nodiscard]] std::string repair_utf8(std::string_view text);

}  // namespace appmesh::wire

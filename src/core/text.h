// Small questions about text that came from outside. Pure functions, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <appmesh/wire/utf8.h>

namespace appmesh::core {

using wire::incomplete_tail;
using wire::is_utf8;
using wire::repair_utf8;

// What a terminal or a log may show of a stranger's text, such as the name that a process gave itself: UTF-8 whatever
// it held, and each control character, C1 too, is a '?'.
[[nodiscard]] std::string plain_text(std::string_view text);

// Of the words, the one that was most likely meant: at most two letters are missing, too many, wrong or in the other
// order, and fewer in short words. Empty: none is near.
[[nodiscard]] std::string_view nearest_word(std::string_view text, std::span<const std::string_view> words);

// The text cut to 64 bytes and everything but printable ASCII replaced by '?', so that it may stand in a message, a log
// line or a header.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace appmesh::core

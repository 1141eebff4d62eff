#include "appmesh/wire/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace appmesh::wire {

namespace {

bool is_continuation(unsigned char c) {
  return (c & 0xC0U) == 0x80;
}

struct Front {
  std::size_t length = 0;  // of the character that the first byte begins, 0: it begins none
  std::size_t good = 0;    // bytes from the front that fit it
};

// The second byte's range is what excludes overlong forms, surrogates and what lies above U+10FFFF (Unicode, table
// 3-7).
Front look_at_front(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return {1, 1};
  const std::size_t length = first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
  if (length == 0) return {};
  const unsigned char low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  std::size_t good = 1;
  if (text.size() > 1 && at(1) >= low && at(1) <= high)
    for (good = 2; good < length && good < text.size() && is_continuation(at(good));) ++good;
  return {length, good};
}

std::size_t ascii_length(std::string_view text) {
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, text.data() + at, 8);
    if ((eight & kHighBits) != 0) break;
  }
  while (at < text.size() && static_cast<unsigned char>(text[at]) < 0x80) ++at;
  return at;
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (;;) {
    text.remove_prefix(ascii_length(text));
    if (text.empty()) return true;
    const Front front = look_at_front(text);
    if (front.length == 0 || front.good != front.length) return false;
    text.remove_prefix(front.length);
  }
}

std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t count = 1; count <= 3 && count <= text.size(); ++count) {
    const std::string_view tail = text.substr(text.size() - count);
    if (is_continuation(static_cast<unsigned char>(tail.front()))) continue;
    const Front front = look_at_front(tail);
    return front.good == count && front.good < front.length ? count : 0;
  }
  return 0;
}

std::string repair_utf8(std::string_view text) {
  if (is_utf8(text)) return std::string(text);
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const Front front = look_at_front(text);
    const std::size_t taken = std::max<std::size_t>(front.good, 1);
    if (front.length > 0 && front.good == front.length)
      out.append(text.substr(0, taken));
    else
      out.append("\xEF\xBF\xBD");
    text.remove_prefix(taken);
  }
  return out;
}

}  // namespace appmesh::wire

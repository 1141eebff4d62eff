// Base64 (RFC 4648) of secrets, headers and tokens. Pure functions over libsodium, whose conversions do not branch on
// what they convert; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace appmesh::store {

enum class Base64 : std::uint8_t {
  padded,  // section 4, with '='
  bare,    // the same alphabet without '='
  url,     // section 5 without '=', as in tokens (RFC 7515)
};

[[nodiscard]] std::string to_base64(std::string_view bytes, Base64 form = Base64::padded);

// Exact: nothing when the text holds a blank or any other character from outside the alphabet, lacks padding or has
// some that the form does not know, or when its last digit carries bits of no byte (so each value has one text only).
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text, Base64 form = Base64::padded);

}  // namespace appmesh::store

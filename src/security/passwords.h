// Passwords at rest (docs/wire.md#passwords): argon2id PHC strings through libsodium, and the PBKDF2 strings
// of published installations, which are accepted and asked to be rewritten. Free functions without state, any thread,
// but each hash or check costs about 20 ms and 19 MiB: call them from a worker pool, never from an I/O thread or the
// engine.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error.h"

namespace appmesh::security {

inline constexpr std::size_t kMaxPasswordBytes = 1024;

struct PasswordCheck {
  bool matches = false;
  bool needs_rehash = false;  // set only when it matches: the stored form is older or weaker than hash_password() makes
};

// Errors: invalid_argument when empty or longer than kMaxPasswordBytes; unavailable when 19 MiB cannot be had.
[[nodiscard]] Result<std::string> hash_password(std::string_view password);

// A stored text that is no known hash matches nothing. Parameters beyond sane bounds are refused unread.
[[nodiscard]] PasswordCheck check_password(std::string_view stored, std::string_view password);

// Does the same work as a real check and fails, so that an unknown user takes the time of a wrong password.
void check_password_of_nobody(std::string_view password);

// True when the text has the form of a hash that check_password() understands; anything else in a file is plain text.
[[nodiscard]] bool is_password_hash(std::string_view stored);

// At least 8 characters with upper, lower, digit and special ones (REST.PasswordComplexityEnabled).
[[nodiscard]] Result<void> check_complexity(std::string_view password);

// 24 random characters (about 142 bits) without look-alikes; for the first administrator.
[[nodiscard]] std::string random_password();

// Wipes the characters. For secrets that lived in a string.
void wipe(std::string& secret);

}  // namespace appmesh::security

#include "security/passwords.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include <openssl/evp.h>
#include <sodium.h>

namespace appmesh::security {
namespace {

constexpr unsigned long long kOperations = 2;
constexpr std::size_t kMemoryBytes = 19UL * 1024 * 1024;
constexpr std::string_view kArgonPrefix = "$argon2id$";
constexpr std::string_view kPbkdf2Prefix = "$pbkdf2$";
// A hand-written file must not be able to make one login cost minutes or gigabytes.
constexpr unsigned kMaxIterations = 10'000'000;
constexpr unsigned kMaxMemoryKib = 1024 * 1024;
constexpr unsigned kMaxOperations = 64;

struct ArgonCost {
  unsigned memory_kib = 0;
  unsigned operations = 0;
};

bool take_number(std::string_view& text, std::string_view label, unsigned& value) {
  if (!text.starts_with(label)) return false;
  text.remove_prefix(label.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

std::optional<ArgonCost> argon_cost(std::string_view stored) {
  if (!stored.starts_with(kArgonPrefix) || stored.size() >= crypto_pwhash_STRBYTES) return std::nullopt;
  stored.remove_prefix(kArgonPrefix.size());
  ArgonCost cost;
  unsigned version = 0;
  unsigned lanes = 0;
  if (!take_number(stored, "v=", version) || !take_number(stored, "$m=", cost.memory_kib) ||
      !take_number(stored, ",t=", cost.operations) || !take_number(stored, ",p=", lanes) || !stored.starts_with('$')) {
    return std::nullopt;
  }
  if (cost.memory_kib > kMaxMemoryKib || cost.operations > kMaxOperations || lanes > 16) return std::nullopt;
  return cost;
}

struct Pbkdf2 {
  unsigned iterations = 0;
  std::vector<unsigned char> salt;
  std::vector<unsigned char> key;
};

std::optional<std::vector<unsigned char>> from_hex(std::string_view hex, std::size_t max_bytes) {
  if (hex.empty() || hex.size() % 2 != 0 || hex.size() / 2 > max_bytes) return std::nullopt;
  std::vector<unsigned char> bytes(hex.size() / 2);
  std::size_t length = 0;
  if (sodium_hex2bin(bytes.data(), bytes.size(), hex.data(), hex.size(), nullptr, &length, nullptr) != 0 ||
      length != bytes.size()) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<Pbkdf2> parse_pbkdf2(std::string_view stored) {
  Pbkdf2 parsed;
  if (!take_number(stored, kPbkdf2Prefix, parsed.iterations) || !stored.starts_with('$')) return std::nullopt;
  if (parsed.iterations == 0 || parsed.iterations > kMaxIterations) return std::nullopt;
  stored.remove_prefix(1);
  const auto middle = stored.find('$');
  if (middle == std::string_view::npos) return std::nullopt;
  auto salt = from_hex(stored.substr(0, middle), 128);
  auto key = from_hex(stored.substr(middle + 1), 128);
  if (!salt || !key || key->size() < 16) return std::nullopt;
  parsed.salt = std::move(*salt);
  parsed.key = std::move(*key);
  return parsed;
}

bool pbkdf2_matches(const Pbkdf2& stored, std::string_view password) {
  std::vector<unsigned char> derived(stored.key.size());
  const int made = PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), stored.salt.data(),
                                     static_cast<int>(stored.salt.size()), static_cast<int>(stored.iterations),
                                     EVP_sha256(), static_cast<int>(derived.size()), derived.data());
  return made == 1 && sodium_memcmp(derived.data(), stored.key.data(), derived.size()) == 0;
}

}  // namespace

Result<std::string> hash_password(std::string_view password) {
  if (password.empty()) return fail(ErrorKind::invalid_argument, "Password must not be empty");
  if (password.size() > kMaxPasswordBytes) {
    return fail(ErrorKind::invalid_argument, "Password is longer than 1024 bytes");
  }
  if (sodium_init() < 0) return fail(ErrorKind::internal, "Cannot hash the password", "sodium_init failed");
  std::array<char, crypto_pwhash_STRBYTES> out{};
  if (crypto_pwhash_str_alg(out.data(), password.data(), password.size(), kOperations, kMemoryBytes,
                            crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return fail(ErrorKind::unavailable, "Not enough memory to hash the password");
  }
  return std::string(out.data());
}

PasswordCheck check_password(std::string_view stored, std::string_view password) {
  if (password.size() > kMaxPasswordBytes || sodium_init() < 0) return {};
  if (const auto cost = argon_cost(stored)) {
    const std::string terminated(stored);
    if (crypto_pwhash_str_verify(terminated.c_str(), password.data(), password.size()) != 0) return {};
    return {.matches = true, .needs_rehash = cost->memory_kib < kMemoryBytes / 1024 || cost->operations < kOperations};
  }
  if (const auto old = parse_pbkdf2(stored)) {
    const bool matches = pbkdf2_matches(*old, password);
    return {.matches = matches, .needs_rehash = matches};
  }
  return {};
}

void check_password_of_nobody(std::string_view password) {
  if (sodium_init() < 0) return;
  // An over-long password is refused before any work for real users as well.
  if (password.size() > kMaxPasswordBytes) return;
  // Any hash will do: the work is what counts, the answer is thrown away.
  static const std::string nobody = hash_password(random_password()).value_or(std::string{});
  [[maybe_unused]] const int ignored = crypto_pwhash_str_verify(nobody.c_str(), password.data(), password.size());
}

bool is_password_hash(std::string_view stored) {
  return argon_cost(stored).has_value() || parse_pbkdf2(stored).has_value();
}

Result<void> check_complexity(std::string_view password) {
  const auto has = [&](auto&& of_kind) { return std::ranges::any_of(password, of_kind); };
  const auto upper = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto special = [&](char c) { return !upper(c) && !lower(c) && !digit(c); };
  if (password.size() < 8 || !has(upper) || !has(lower) || !has(digit) || !has(special)) {
    return fail(ErrorKind::invalid_argument,
                "Password needs at least 8 characters with an upper-case letter, a lower-case letter, a digit and a "
                "special character");
  }
  return {};
}

std::string random_password() {
  constexpr std::string_view kAlphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.";
  std::string password;
  if (sodium_init() < 0) return password;
  for (int i = 0; i < 24; ++i) password += kAlphabet[randombytes_uniform(static_cast<std::uint32_t>(kAlphabet.size()))];
  return password;
}

void wipe(std::string& secret) {
  sodium_memzero(secret.data(), secret.size());
  secret.clear();
}

}  // namespace appmesh::security

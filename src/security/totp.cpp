#include "security/totp.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <liboath/oath.h>
#include <sodium.h>

#include "security/passwords.h"

namespace appmesh::security {
namespace {

constexpr unsigned kStepSeconds = 30;
constexpr std::size_t kStepsAside = 1;
constexpr std::size_t kDigits = 6;

std::unexpected<Error> wrong_code() {
  return fail(ErrorKind::unauthenticated, "Authentication failed: wrong TOTP code");
}

struct Free {
  void operator()(char* text) const { std::free(text); }  // liboath gives memory of malloc
};

}  // namespace

std::string make_totp_secret() {
  std::array<unsigned char, 20> bytes{};  // 160 bits, as RFC 4226 recommends: exactly 32 characters
  randombytes_buf(bytes.data(), bytes.size());
  char* text = nullptr;
  std::size_t length = 0;
  if (oath_base32_encode(reinterpret_cast<const char*>(bytes.data()), bytes.size(), &text, &length) != OATH_OK)
    throw std::bad_alloc();
  const std::unique_ptr<char, Free> owned(text);
  sodium_memzero(bytes.data(), bytes.size());
  std::string secret(text, length);
  sodium_memzero(text, length);
  return secret;
}

std::string totp_uri(std::string_view user, std::string_view secret) {
  return fmt::format("otpauth://totp/{}?secret={}&issuer=AppMesh", user, secret);
}

std::optional<std::int64_t> totp_step(const std::string& secret, const std::string& code, core::WallTime now) {
  const bool digits = std::ranges::all_of(code, [](char c) { return c >= '0' && c <= '9'; });
  if (code.size() != kDigits || !digits) return std::nullopt;
  char* key = nullptr;
  std::size_t length = 0;
  if (oath_base32_decode(secret.data(), secret.size(), &key, &length) != OATH_OK) return std::nullopt;
  const std::unique_ptr<char, Free> owned(key);
  std::uint64_t step = 0;
  const int found = oath_totp_validate4(key, length, core::epoch_seconds(now), kStepSeconds,
                                        OATH_TOTP_DEFAULT_START_TIME, kStepsAside, nullptr, &step, 0, code.c_str());
  sodium_memzero(key, length);
  if (found < 0) return std::nullopt;
  return static_cast<std::int64_t>(step);
}

Result<void> Totp::check(const User& user, const std::string& code, core::WallTime now) {
  auto step = step_of(user, users_.next_totp_secret(user), code, now);
  if (!step) return std::unexpected(std::move(step.error()));
  return {};
}

Result<void> Totp::use(const User& user, const std::string& code, core::WallTime now) {
  const auto step = step_of(user, users_.totp_secret(user), code, now);
  if (!step) return std::unexpected(step.error());
  if (!replay_protection_()) return {};
  // A used code is kept beside the void tokens, for as long as it would be good.
  const core::WallTime until = now + std::chrono::seconds(kStepSeconds) * (2 * kStepsAside + 2);
  const auto first = revocations_.revoke(fmt::format("totp:{}:{}", user.name, *step), until, now, [](Result<void>) {});
  if (!first) return std::unexpected(first.error());
  if (!*first) return wrong_code();
  return {};
}

Result<std::int64_t> Totp::step_of(const User& user, Result<std::string> secret, const std::string& code,
                                   core::WallTime now) {
  if (!secret) return std::unexpected(std::move(secret.error()));
  const bool barred = is_barred(user.name, now);
  const auto step = totp_step(*secret, code, now);
  wipe(*secret);
  if (barred || !step) {
    count_failure(user.name, now);
    return wrong_code();
  }
  return *step;
}

bool Totp::is_barred(const std::string& user, core::WallTime now) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(user);
  if (found == failures_.end()) return false;
  if (now >= found->second.since && now - found->second.since < kFailureWindow)
    return found->second.count >= kMaxFailures;
  failures_.erase(found);
  return false;
}

void Totp::count_failure(const std::string& user, core::WallTime now) {
  const std::lock_guard lock(mutex_);
  auto& failures = failures_.try_emplace(user, Failures{.since = now}).first->second;
  ++failures.count;
}

}  // namespace appmesh::security

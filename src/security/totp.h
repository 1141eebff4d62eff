// Time-based one-time passwords: 32 characters of base32, SHA-1, six digits, 30 seconds, one step to either side
// (docs/wire.md#totp, RFC 6238). Owned by Identity; any thread, nothing blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/time.h"
#include "security/revocations.h"
#include "security/user_directory.h"

namespace appmesh::security {

[[nodiscard]] std::string make_totp_secret();
// What authenticator programs read from a QR code.
[[nodiscard]] std::string totp_uri(std::string_view user, std::string_view secret);
// The time step, counted from the epoch, whose code this is; nothing for any other text.
[[nodiscard]] std::optional<std::int64_t> totp_step(const std::string& secret, const std::string& code,
                                                    core::WallTime now);

class Totp {
 public:
  static constexpr int kMaxFailures = 10;  // of one user within kFailureWindow, then every code is wrong
  static constexpr std::chrono::seconds kFailureWindow{180};

  // `users` and `revocations` must live longer. `replay_protection`: REST.TotpReplayProtection as it is now.
  Totp(const UserDirectory& users, Revocations& revocations, std::function<bool()> replay_protection)
      : users_(users), revocations_(revocations), replay_protection_(std::move(replay_protection)) {}

  // For setting up: a code proves that the user has the secret that is to be, and may still log in once. Errors:
  // invalid_argument when the user has no secret, unauthenticated for a wrong code.
  Result<void> check(const User& user, const std::string& code, core::WallTime now);
  // For logging in: a code is good once (RFC 6238 section 5.2), also across a restart of the daemon.
  Result<void> use(const User& user, const std::string& code, core::WallTime now);

 private:
  struct Failures {
    core::WallTime since;
    int count = 0;
  };

  Result<std::int64_t> step_of(const User& user, Result<std::string> secret, const std::string& code,
                               core::WallTime now);
  [[nodiscard]] bool is_barred(const std::string& user, core::WallTime now);
  void count_failure(const std::string& user, core::WallTime now);

  const UserDirectory& users_;
  Revocations& revocations_;
  const std::function<bool()> replay_protection_;
  std::mutex mutex_;
  std::map<std::string, Failures> failures_;  // by user of the directory, so as many as there are users at most
};

}  // namespace appmesh::security

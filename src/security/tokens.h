// JSON web tokens, HS256 through libjwt with the algorithm pinned (docs/wire.md#tokens): issuing,
// verifying, revoking. Owned by the daemon, immutable settings; any thread, nothing blocks. A verified token is
// remembered by its hash, so that the usual request costs no HMAC and no parsing; what may change (user, roles, lock,
// epoch, revocation) is checked against the present generation at every call.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/time.h"
#include "security/principal.h"
#include "security/revocations.h"
#include "security/user_directory.h"

namespace appmesh::security {

inline constexpr std::string_view kServiceAudience = "appmesh-service";
inline constexpr std::string_view kFileAudience = "appmesh-file-service";
inline constexpr std::string_view kRefreshAudience = "appmesh-refresh";

inline constexpr std::chrono::seconds kTokenLeeway{60};
inline constexpr std::chrono::seconds kDefaultTokenLife = std::chrono::hours(24 * 7);
inline constexpr std::chrono::seconds kMaxTokenLife = std::chrono::hours(24 * 30);
inline constexpr std::size_t kMaxTokenBytes = 8192;
inline constexpr std::size_t kMinSecretBytes = 32;  // RFC 7518 section 3.2

// What a token has from the login that it goes back to.
struct SessionOrigin {
  std::string id;                // the same in all tokens that renew each other; empty: a new session
  std::int64_t factor_time = 0;  // when a second factor was shown, epoch seconds; 0: never
};

struct Claims {
  std::string user;
  std::string audience;
  std::string jti;
  std::int64_t issued_at = 0;  // epoch seconds, all three
  std::int64_t expires = 0;
  std::int64_t valid_from = 0;  // iat, or nbf when that is later
  SessionOrigin session;
  std::optional<std::string> user_id;  // of a token that this home issued; others are of whoever has the name
};

struct IssuedToken {
  std::string text;
  Claims claims;
};

struct VerifiedToken {
  std::shared_ptr<const Claims> claims;
  std::shared_ptr<const Principal> principal;
};

// X-Expire-Seconds: empty or "0" is 7 days, an integer or ISO 8601 duration otherwise, clamped to 30 days.
[[nodiscard]] Result<std::chrono::seconds> parse_token_life(std::string_view text);
[[nodiscard]] std::chrono::seconds refresh_life(std::chrono::seconds token_life);
// The audience that a token claims for itself, without any check of it. For copying, never for deciding.
[[nodiscard]] std::optional<std::string> unverified_audience(std::string_view token);

class Tokens {
 public:
  struct Options {
    std::string secret;  // at least kMinSecretBytes
    std::string issuer;
    std::vector<std::string> audiences;  // that a login may ask for
    std::string home;                    // of the daemon; in the same cluster a user has another id at each
    std::size_t cache_entries = 8192;
  };

  // `users` and `revocations` must live longer. Error invalid_argument: a secret that is too short, an empty issuer.
  static Result<std::unique_ptr<Tokens>> make(Options options, const UserDirectory& users, Revocations& revocations);
  ~Tokens();

  // Errors: invalid_argument "illegal audience" for internal ones, or one that is not configured.
  [[nodiscard]] Result<void> check_audience(std::string_view audience) const;
  [[nodiscard]] bool is_configured(std::string_view audience) const;

  // For a user of the directory; iat is later than his token epoch. Every token has a jti of its own.
  [[nodiscard]] Result<IssuedToken> issue(std::string_view user, std::string_view audience, std::chrono::seconds life,
                                          core::WallTime now, const SessionOrigin& session = {}) const;

  // Signature, issuer, audience, expiry, revocation, user. Errors: unauthenticated, and not_found when the user is
  // gone.
  [[nodiscard]] Result<VerifiedToken> verify(std::string_view token, std::string_view audience, core::WallTime now);
  // The same for any audience but the internal ones: where a token is only prolonged or given up.
  [[nodiscard]] Result<VerifiedToken> verify_any_audience(std::string_view token, core::WallTime now);

  // Who shows it, when what was verified still holds: for what outlives the request that showed the token. Its expiry
  // is not looked at. Errors: those of verify().
  [[nodiscard]] Result<std::shared_ptr<const Principal>> present(const Claims& claims) const;

  // `voided` is called for each token that was voided for good, on the thread of the revocation's `done`. Before the
  // first request.
  void observe(std::function<void(const std::string& jti)> voided) { voided_ = std::move(voided); }

  // Voids a token that was verified here; see Revocations::revoke for the result and `done`.
  Result<bool> revoke(const Claims& claims, core::WallTime now, Revocations::Done done);

  Tokens(const Tokens&) = delete;
  Tokens& operator=(const Tokens&) = delete;

 private:
  using Key = std::array<unsigned char, 32>;
  struct KeyHash {
    std::size_t operator()(const Key& key) const noexcept;
  };
  // What was true of a token at the two generations.
  struct Entry {
    std::shared_ptr<const Claims> claims;
    std::shared_ptr<const Principal> principal;
    std::uint64_t users_generation = 0;
    std::uint64_t revocations_generation = 0;
  };
  // Two half-caches: when the young one is full it becomes the old one and the old one is dropped, so the cache is
  // bounded and what is in use stays.
  struct Shard {
    std::mutex mutex;
    std::unordered_map<Key, Entry, KeyHash> young;
    std::unordered_map<Key, Entry, KeyHash> old;
  };
  static constexpr std::size_t kShards = 16;

  Tokens(Options options, const UserDirectory& users, Revocations& revocations);
  [[nodiscard]] Result<VerifiedToken> verify_signed(std::string_view token, core::WallTime now);
  [[nodiscard]] Result<Claims> decode(std::string_view token) const;
  [[nodiscard]] Result<void> check_revoked(const Claims& claims) const;
  [[nodiscard]] static Result<std::shared_ptr<const Principal>> check_user(const Claims& claims,
                                                                           const UserSnapshot& snapshot);
  // Fills the entry's principal and generations from the present state.
  [[nodiscard]] Result<void> refresh(Entry& entry) const;
  void remember(Shard& shard, const Key& key, Entry entry);

  Options options_;
  const UserDirectory& users_;
  Revocations& revocations_;
  std::function<void(const std::string& jti)> voided_;
  Key cache_key_{};  // keyed hash: nobody can aim at a bucket
  std::array<Shard, kShards> shards_;
};

}  // namespace appmesh::security

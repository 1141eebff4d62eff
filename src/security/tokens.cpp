#include "security/tokens.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <appmesh/wire/json_text.h>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <jwt.h>
#include <sodium.h>

#include "core/duration.h"
#include "platform/random.h"
#include "security/passwords.h"
#include "store/base64.h"

namespace appmesh::security {
namespace {

struct JwtFree {
  void operator()(jwt_t* jwt) const { jwt_free(jwt); }
};
using JwtPtr = std::unique_ptr<jwt_t, JwtFree>;

struct CFree {
  void operator()(char* text) const { std::free(text); }
};

std::unexpected<Error> refused(std::string reason) {
  return fail(ErrorKind::unauthenticated, std::move(reason));
}

// Base64url text with two dots, before a parser sees it.
bool looks_like_token(std::string_view token) {
  return token.size() <= kMaxTokenBytes && std::ranges::count(token, '.') == 2 &&
         std::ranges::all_of(token, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

std::optional<std::int64_t> integer_claim(jwt_t* jwt, const char* name) {
  errno = 0;
  const long value = jwt_get_grant_int(jwt, name);
  if (errno != 0) return std::nullopt;
  return value;
}

std::string text_claim(jwt_t* jwt, const char* name) {
  const char* value = jwt_get_grant(jwt, name);
  return value == nullptr ? std::string{} : std::string(value);
}

bool is_internal(std::string_view audience) {
  return audience == kFileAudience || audience == kRefreshAudience;
}

}  // namespace

Result<std::chrono::seconds> parse_token_life(std::string_view text) {
  if (text.empty() || text == "0") return kDefaultTokenLife;
  const auto life = core::parse_duration(text);
  if (!life || life->count() <= 0 || *life > kMaxTokenLife) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("header 'X-Expire-Seconds': must be 1 to {} seconds, or such an ISO 8601 duration",
                            std::chrono::seconds(kMaxTokenLife).count()));
  }
  return *life;
}

std::chrono::seconds refresh_life(std::chrono::seconds token_life) {
  return std::min(kMaxTokenLife, std::max(2 * token_life, token_life + std::chrono::hours(1)));
}

std::optional<std::string> unverified_audience(std::string_view token) {
  if (!looks_like_token(token)) return std::nullopt;
  const auto begin = token.find('.') + 1;
  const auto body = token.substr(begin, token.find('.', begin) - begin);
  const auto json = store::from_base64(body, store::Base64::url);
  if (!json) return std::nullopt;
  boost::system::error_code error;
  boost::json::parse_options options;
  options.max_depth = 8;
  const auto claims = boost::json::parse(*json, error, {}, options);
  if (error || !claims.is_object()) return std::nullopt;
  const auto* audience = claims.as_object().if_contains("aud");
  if (audience == nullptr || !audience->is_string()) return std::nullopt;
  return std::string(audience->as_string());
}

std::size_t Tokens::KeyHash::operator()(const Key& key) const noexcept {
  std::size_t hash = 0;
  std::memcpy(&hash, key.data(), sizeof hash);
  return hash;
}

Result<std::unique_ptr<Tokens>> Tokens::make(Options options, const UserDirectory& users, Revocations& revocations) {
  if (sodium_init() < 0) return fail(ErrorKind::internal, "libsodium cannot be used", "sodium_init failed");
  if (options.secret.size() < kMinSecretBytes) {
    return fail(ErrorKind::invalid_argument, "REST.JWT.JWTSalt: HS256 needs at least 32 bytes (RFC 7518 section 3.2)");
  }
  if (options.issuer.empty()) return fail(ErrorKind::invalid_argument, "REST.JWT.Issuer: must not be empty");
  return std::unique_ptr<Tokens>(new Tokens(std::move(options), users, revocations));
}

Tokens::Tokens(Options options, const UserDirectory& users, Revocations& revocations)
    : options_(std::move(options)), users_(users), revocations_(revocations) {
  platform::fill_random(cache_key_);
}

Tokens::~Tokens() {
  wipe(options_.secret);
}

bool Tokens::is_configured(std::string_view audience) const {
  return std::ranges::find(options_.audiences, audience) != options_.audiences.end();
}

Result<void> Tokens::check_audience(std::string_view audience) const {
  if (is_internal(audience)) return fail(ErrorKind::invalid_argument, "illegal audience");
  if (audience != kServiceAudience && !is_configured(audience)) {
    return fail(ErrorKind::invalid_argument, "Audience is not configured");
  }
  return {};
}

Result<IssuedToken> Tokens::issue(std::string_view user, std::string_view audience, std::chrono::seconds life,
                                  core::WallTime now, const SessionOrigin& session) const {
  const auto snapshot = users_.snapshot();
  const User* known = snapshot->find(user);
  if (known == nullptr) return fail(ErrorKind::not_found, fmt::format("No such user: {}", user));

  IssuedToken token;
  token.claims = {.user = known->name,
                  .audience = std::string(audience),
                  .jti = platform::random_hex(16),
                  .issued_at = std::max(core::epoch_seconds(now), known->token_epoch + 1),
                  .expires = 0,
                  .valid_from = 0,
                  .session = session};
  token.claims.user_id = known->id;
  const std::string account = options_.home + "." + known->id;
  if (token.claims.session.id.empty()) token.claims.session.id = platform::random_hex(16);
  token.claims.expires = token.claims.issued_at + life.count();

  boost::json::array roles(known->roles.begin(), known->roles.end());
  const std::string access =
      wire::write_json(boost::json::object{{"resource_access", {{"appmesh-service", {{"roles", roles}}}}}});
  jwt_t* made = nullptr;
  if (jwt_new(&made) != 0) return fail(ErrorKind::internal, "Cannot make a token", "jwt_new failed");
  const JwtPtr jwt(made);
  const bool complete = jwt_add_grant(made, "iss", options_.issuer.c_str()) == 0 &&
                        jwt_add_grant(made, "sub", token.claims.user.c_str()) == 0 &&
                        jwt_add_grant(made, "aud", token.claims.audience.c_str()) == 0 &&
                        jwt_add_grant_int(made, "iat", token.claims.issued_at) == 0 &&
                        jwt_add_grant_int(made, "exp", token.claims.expires) == 0 &&
                        jwt_add_grant(made, "jti", token.claims.jti.c_str()) == 0 &&
                        jwt_add_grant(made, "uid", account.c_str()) == 0 &&
                        jwt_add_grant(made, "sid", token.claims.session.id.c_str()) == 0 &&
                        (session.factor_time == 0 || jwt_add_grant_int(made, "otp_time", session.factor_time) == 0) &&
                        jwt_add_grants_json(made, access.c_str()) == 0 &&
                        jwt_set_alg(made, JWT_ALG_HS256, reinterpret_cast<const unsigned char*>(options_.secret.data()),
                                    static_cast<int>(options_.secret.size())) == 0;
  if (!complete) return fail(ErrorKind::internal, "Cannot make a token", "libjwt refused a claim");
  const std::unique_ptr<char, CFree> text(jwt_encode_str(made));
  if (!text) return fail(ErrorKind::internal, "Cannot make a token", "jwt_encode_str failed");
  token.text = text.get();
  if (token.text.size() > kMaxTokenBytes) {
    return fail(ErrorKind::invalid_argument, "The user's role names do not fit into a token");
  }
  return token;
}

Result<Claims> Tokens::decode(std::string_view token) const {
  if (!looks_like_token(token)) return refused("Token is malformed");
  const std::string terminated(token);
  jwt_t* decoded = nullptr;
  // With a key, libjwt 1.10 refuses alg none and compares signatures in constant time; claims it does not look at.
  const int status =
      jwt_decode(&decoded, terminated.c_str(), reinterpret_cast<const unsigned char*>(options_.secret.data()),
                 static_cast<int>(options_.secret.size()));
  const JwtPtr jwt(decoded);
  if (status != 0 || jwt == nullptr) return refused("Token verification failed");
  if (jwt_get_alg(jwt.get()) != JWT_ALG_HS256) return refused("Token verification failed");
  if (text_claim(jwt.get(), "iss") != options_.issuer) return refused("Token issuer is not accepted");
  const auto issued_at = integer_claim(jwt.get(), "iat");
  const auto expires = integer_claim(jwt.get(), "exp");
  Claims claims{
      .user = text_claim(jwt.get(), "sub"),
      .audience = text_claim(jwt.get(), "aud"),
      .jti = text_claim(jwt.get(), "jti"),
      .issued_at = issued_at.value_or(0),
      .expires = expires.value_or(0),
      .valid_from = std::max(issued_at.value_or(0), integer_claim(jwt.get(), "nbf").value_or(0)),
      .session = {.id = text_claim(jwt.get(), "sid"), .factor_time = integer_claim(jwt.get(), "otp_time").value_or(0)}};
  if (claims.session.id.empty()) claims.session.id = claims.jti;  // of an older version
  const std::string account = text_claim(jwt.get(), "uid");
  if (const auto dot = account.find('.'); dot != std::string::npos && account.substr(0, dot) == options_.home)
    claims.user_id = account.substr(dot + 1);
  if (!issued_at || !expires || claims.user.empty() || claims.audience.empty() || claims.jti.empty()) {
    return refused("Token lacks a claim");
  }
  return claims;
}

Result<void> Tokens::check_revoked(const Claims& claims) const {
  if (!revocations_.contains(claims.jti)) return {};
  return refused(claims.audience == kRefreshAudience ? "Refresh token has been revoked" : "Token has been revoked");
}

Result<std::shared_ptr<const Principal>> Tokens::check_user(const Claims& claims, const UserSnapshot& snapshot) {
  const User* user = snapshot.find(claims.user);
  if (user == nullptr) return fail(ErrorKind::not_found, fmt::format("No such user: {}", claims.user));
  if (claims.user_id && *claims.user_id != user->id) return refused("Token is of a user who was deleted");
  if (user->locked) return refused("User is locked");
  if (claims.issued_at <= user->token_epoch && claims.session.id != user->kept_session)
    return refused("Token was issued before the password or the second factor changed");
  return snapshot.principal(user->name);
}

Result<std::shared_ptr<const Principal>> Tokens::present(const Claims& claims) const {
  if (auto good = check_revoked(claims); !good) return std::unexpected(std::move(good.error()));
  return check_user(claims, *users_.snapshot());
}

Result<void> Tokens::refresh(Entry& entry) const {
  // The generation is read before the set: a revocation in between is seen at the next call at the latest.
  const std::uint64_t revocations_generation = revocations_.generation();
  if (auto good = check_revoked(*entry.claims); !good) return good;
  entry.revocations_generation = revocations_generation;
  if (entry.principal != nullptr && entry.users_generation == users_.generation()) return {};
  const auto snapshot = users_.snapshot();
  auto principal = check_user(*entry.claims, *snapshot);
  if (!principal) return std::unexpected(std::move(principal.error()));
  entry.principal = std::move(*principal);
  entry.users_generation = snapshot->generation();
  return {};
}

void Tokens::remember(Shard& shard, const Key& key, Entry entry) {
  if (shard.young.size() >= std::max<std::size_t>(1, options_.cache_entries / kShards / 2)) {
    shard.old = std::exchange(shard.young, {});
  }
  shard.young.insert_or_assign(key, std::move(entry));
}

Result<VerifiedToken> Tokens::verify_signed(std::string_view token, core::WallTime now) {
  if (token.empty()) return refused("No authentication token provided");
  if (token.size() > kMaxTokenBytes) return refused("Token is malformed");
  Key key;
  crypto_generichash(key.data(), key.size(), reinterpret_cast<const unsigned char*>(token.data()), token.size(),
                     cache_key_.data(), cache_key_.size());
  Shard& shard = shards_[key[31] % kShards];
  const auto expired = [now](const Claims& claims) {
    return core::epoch_seconds(now) >= claims.expires + kTokenLeeway.count();
  };
  const auto too_early = [now](const Claims& claims) {
    return core::epoch_seconds(now) < claims.valid_from - kTokenLeeway.count();
  };

  std::optional<Entry> known;
  {
    const std::lock_guard lock(shard.mutex);
    auto found = shard.young.find(key);
    if (found == shard.young.end()) {
      if (auto node = shard.old.extract(key)) {
        if (shard.young.size() >= std::max<std::size_t>(1, options_.cache_entries / kShards / 2)) {
          shard.old = std::exchange(shard.young, {});
        }
        found = shard.young.insert(std::move(node)).position;
      }
    }
    if (found != shard.young.end()) {
      Entry& entry = found->second;
      if (expired(*entry.claims)) {
        shard.young.erase(found);
        return refused("Token has expired");
      }
      if (too_early(*entry.claims)) return refused("Token is not valid yet");
      if (entry.users_generation == users_.generation() && entry.revocations_generation == revocations_.generation()) {
        return VerifiedToken{entry.claims, entry.principal};
      }
      known = entry;
    }
  }

  if (!known) {
    auto claims = decode(token);
    if (!claims) return std::unexpected(claims.error());
    if (expired(*claims)) return refused("Token has expired");
    if (too_early(*claims)) return refused("Token is not valid yet");
    known = Entry{.claims = std::make_shared<const Claims>(std::move(*claims))};
  }
  const auto present = refresh(*known);
  const std::lock_guard lock(shard.mutex);
  if (!present) {
    shard.young.erase(key);
    return std::unexpected(present.error());
  }
  VerifiedToken verified{known->claims, known->principal};
  remember(shard, key, std::move(*known));
  return verified;
}

Result<VerifiedToken> Tokens::verify(std::string_view token, std::string_view audience, core::WallTime now) {
  auto verified = verify_signed(token, now);
  if (verified && verified->claims->audience != audience) return refused("Token audience is not accepted");
  return verified;
}

Result<VerifiedToken> Tokens::verify_any_audience(std::string_view token, core::WallTime now) {
  auto verified = verify_signed(token, now);
  if (verified && is_internal(verified->claims->audience)) return refused("Token audience is not accepted");
  return verified;
}

Result<bool> Tokens::revoke(const Claims& claims, core::WallTime now, Revocations::Done done) {
  // Until the last second of the leeway, and one more because the store forgets what lies before its own present.
  const core::WallTime accepted_until =
      core::WallTime(std::chrono::seconds(claims.expires)) + kTokenLeeway + std::chrono::seconds(1);
  // Void at once, so that of two who show it one wins; valid again when that cannot be made to last.
  return revocations_.revoke(claims.jti, accepted_until, now,
                             [this, jti = claims.jti, done = std::move(done)](Result<void> stored) mutable {
                               if (!stored)
                                 revocations_.take_back(jti);
                               else if (voided_)
                                 voided_(jti);
                               done(std::move(stored));
                             });
}

}  // namespace appmesh::security

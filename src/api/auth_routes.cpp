#include "api/auth_routes.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "api/session.h"
#include "core/text.h"
#include "platform/clock.h"
#include "security/passwords.h"
#include "store/base64.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
using security::Claims;

constexpr const char* kTag = "Authentication";
constexpr std::size_t kMaxCredentialBytes = 4096;

struct Credentials {
  std::string user;
  std::string password;
};

Result<Credentials> basic_credentials(const Request& request) {
  const auto header = request.header("authorization");
  const auto bad = [] {
    return fail(ErrorKind::invalid_argument, "Authorization: expected Basic and the base64 of user:password");
  };
  if (!header || header->size() < 6 || header->size() > kMaxCredentialBytes) return bad();
  std::string scheme(header->substr(0, 6));
  std::ranges::transform(scheme, scheme.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (scheme != "basic ") return bad();
  auto encoded = header->substr(6);
  while (encoded.starts_with(' ')) encoded.remove_prefix(1);
  // Some clients leave the padding away.
  const bool padded = encoded.ends_with('=') || encoded.size() % 4 == 0;
  auto plain = store::from_base64(encoded, padded ? store::Base64::padded : store::Base64::bare);
  if (!plain) return bad();
  if (!core::is_utf8(*plain))
    return fail(ErrorKind::invalid_argument, "Authorization: user and password must be UTF-8 text");
  const auto colon = plain->find(':');
  if (colon == std::string::npos) return bad();
  Credentials credentials{.user = plain->substr(0, colon), .password = plain->substr(colon + 1)};
  security::wipe(*plain);
  return credentials;
}

// On a worker. Unknown users, locked users and wrong passwords take the same time and get the same answer.
Result<std::string> check_credentials(security::UserDirectory& users, Credentials credentials) {
  const auto snapshot = users.snapshot();
  const security::User* user = snapshot->find(credentials.user);
  security::PasswordCheck check;
  if (user == nullptr || user->key.empty()) {
    security::check_password_of_nobody(credentials.password);
  } else {
    check = security::check_password(user->key, credentials.password);
  }
  const bool welcome = check.matches && !user->locked;
  if (welcome && check.needs_rehash) {
    // A login does not fail because its stronger hash could not be saved; the next one tries again.
    if (auto stronger = security::hash_password(credentials.password)) {
      [[maybe_unused]] const auto saved = users.replace_key(user->name, user->key, std::move(*stronger));
    }
  }
  security::wipe(credentials.password);
  if (!welcome) return fail(ErrorKind::unauthenticated, "Authentication failed: wrong user or password");
  return user->name;
}

asio::awaitable<Response> login(const AuthRoutes& wiring, const Request& request) {
  auto credentials = basic_credentials(request);
  if (!credentials) co_return refusal(credentials.error());
  const std::string audience(filled(request, "X-Audience").value_or(security::kServiceAudience));
  if (auto good = wiring.tokens.check_audience(audience); !good) co_return refusal(good.error());
  const auto life = security::parse_token_life(request.header("X-Expire-Seconds").value_or(""));
  if (!life) co_return refusal(life.error());

  auto user = co_await wiring.workers.run([&users = wiring.users, credentials = std::move(*credentials)]() mutable {
    return check_credentials(users, std::move(credentials));
  });
  if (!user) co_return refusal(user.error());
  const auto snapshot = wiring.users.snapshot();
  const security::User* known = snapshot->find(*user);
  const bool second_factor = known != nullptr && known->mfa_enabled;
  const auto code = filled(request, "X-Totp-Code");
  if (second_factor && code) {
    if (auto good = wiring.totp.use(*known, std::string(*code), platform::wall_now()); !good)
      co_return refusal(good.error());
  }
  // Without a code the session is held back until there is one: it is never seen by who has not shown it.
  const security::SessionOrigin origin{.factor_time = second_factor ? core::epoch_seconds(platform::wall_now()) : 0};
  auto session = open_session(wiring, *user, audience, *life, is_set(request, "X-Refresh-Token-Request"), origin);
  if (!session) co_return refusal(session.error());
  if (second_factor && !code) co_return totp_challenge(wiring, std::move(*session));
  co_return session_response(*session, request.transport == TransportKind::https && is_set(request, "X-Set-Cookie"));
}

asio::awaitable<Response> authenticate(const AuthRoutes& wiring, const Request& request) {
  const auto token = request.token();
  if (!token) co_return refusal({ErrorKind::unauthenticated, "No authentication token provided", {}});
  const auto audience = filled(request, "X-Audience").value_or(security::kServiceAudience);
  // Tokens of the daemon's own purposes prove nothing to others.
  const auto now = platform::wall_now();
  auto verified = wiring.tokens.verify_any_audience(*token, now);
  if (verified && verified->claims->audience != audience) {
    verified = fail(ErrorKind::unauthenticated, "Token audience is not accepted");
  }
  if (!verified) co_return refusal(verified.error());
  if (const auto permission = filled(request, "X-Permission")) {
    if (auto allowed = security::require_permission(*verified->principal, *permission); !allowed) {
      co_return refusal(allowed.error());
    }
  }
  const Session session{.access_token = std::string(*token),
                        .claims = *verified->claims,
                        .expires_in = std::max<std::int64_t>(0, verified->claims->expires - core::epoch_seconds(now)),
                        .group = ""};
  co_return session_response(session, request.transport == TransportKind::https && is_set(request, "X-Set-Cookie"));
}

// What a renewal with a refresh token copies from the access token beside it, whose signature nobody checks: only an
// audience that a login could have asked for as well.
std::string audience_to_keep(const AuthRoutes& wiring, const Request& request) {
  if (const auto token = request.token()) {
    const auto claimed = security::unverified_audience(*token);
    if (claimed && wiring.tokens.check_audience(*claimed)) return *claimed;
  }
  return std::string(security::kServiceAudience);
}

asio::awaitable<Response> renew(const AuthRoutes& wiring, const Request& request) {
  const auto life = security::parse_token_life(request.header("X-Expire-Seconds").value_or(""));
  if (!life) co_return refusal(life.error());
  const auto now = platform::wall_now();
  const auto refresh_token = filled(request, "X-Refresh-Token");
  Result<security::VerifiedToken> presented;
  if (refresh_token) {
    presented = wiring.tokens.verify(*refresh_token, security::kRefreshAudience, now);
  } else if (const auto token = request.token()) {
    presented = wiring.tokens.verify_any_audience(*token, now);
  } else {
    presented = fail(ErrorKind::unauthenticated, "No authentication token provided");
  }
  if (!presented) co_return refusal(presented.error());
  if (auto allowed = security::require_permission(*presented->principal, kRenewPermission); !allowed) {
    co_return refusal(allowed.error());
  }

  std::shared_ptr<const Claims> access = presented->claims;
  if (refresh_token) {
    access = nullptr;
    if (const auto token = request.token()) {
      const auto beside = wiring.tokens.verify_any_audience(*token, now);
      if (beside && beside->claims->user == presented->claims->user) access = beside->claims;
    }
  }
  const std::string audience = refresh_token ? audience_to_keep(wiring, request) : presented->claims->audience;
  auto session = co_await replace_session(wiring, presented->claims, std::move(access), audience, *life,
                                          refresh_token.has_value() || is_set(request, "X-Refresh-Token-Request"));
  if (!session) co_return refusal(session.error());
  co_return session_response(*session, request.cookie(kAuthCookie).has_value());
}

asio::awaitable<Response> logoff(const AuthRoutes& wiring, const Request& request) {
  const auto now = platform::wall_now();
  std::vector<std::shared_ptr<const Claims>> valid;
  if (const auto token = request.token()) {
    if (auto verified = wiring.tokens.verify_any_audience(*token, now)) valid.push_back(verified->claims);
  }
  if (const auto token = filled(request, "X-Refresh-Token")) {
    if (auto verified = wiring.tokens.verify(*token, security::kRefreshAudience, now)) {
      valid.push_back(verified->claims);
    }
  }
  if (valid.empty()) co_return refusal({ErrorKind::unauthenticated, "No valid token provided", {}});
  for (auto& claims : valid) {
    // False means that somebody else voided it in between: then it is void all the same.
    auto revoked = co_await revoke(wiring.tokens, std::move(claims));
    if (!revoked) co_return refusal(revoked.error());
  }
  Response response = not_stored(Response{});
  if (request.cookie(kAuthCookie)) set_cookie(response, "", 0);
  co_return response;
}

}  // namespace

void add_auth_routes(RouteTable& table, AuthRoutes wiring) {
  using In = Parameter::In;
  const Parameter expire{In::header, "X-Expire-Seconds", "seconds or ISO 8601 duration; default 7 days, at most 30"};
  const Parameter audience{In::header, "X-Audience", "default appmesh-service"};
  const Parameter cookie{In::header, "X-Set-Cookie", "true: also set the cookie appmesh_auth_token"};
  const Parameter refresh{In::header, "X-Refresh-Token", "a refresh token, used up by this call"};
  const Parameter want_refresh{In::header, "X-Refresh-Token-Request", "true: also issue a refresh token"};

  const Parameter totp_code{In::header, "X-Totp-Code", "the code of the second factor, when the account has one"};

  table.add({.method = Method::post,
             .pattern = "/appmesh/login",
             .requirement = Requirement::free(),
             .handler = [wiring](Context& context) { return login(wiring, context.request); },
             .summary = "Log in with HTTP Basic credentials",
             .tag = kTag,
             .parameters = {{In::header, "Authorization", "Basic, base64 of user:password", true},
                            totp_code,
                            audience,
                            expire,
                            cookie,
                            want_refresh},
             .answers = {{200, "token object"},
                         {400, "not Basic, or a bad header"},
                         {401, "wrong user, password or code"},
                         {428, "the account has a second factor: a challenge for /appmesh/totp/validate"},
                         {503, "too many logins are waiting"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/auth",
             .requirement = Requirement::free(),  // checks the token itself, for the audience of X-Audience
             .handler = [wiring](Context& context) { return authenticate(wiring, context.request); },
             .summary = "Check a token, its audience and a permission",
             .tag = kTag,
             .parameters = {{In::header, "X-Permission", "permission id that the user must have"}, audience, cookie},
             .answers = {{200, "token object with the presented token"},
                         {401, "token or audience not accepted"},
                         {403, "the permission is lacking"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/token/renew",
             .requirement = Requirement::free(),  // the credential may be a refresh token
             .handler = [wiring](Context& context) { return renew(wiring, context.request); },
             .summary = "Exchange a token, or a refresh token, for a new one",
             .tag = kTag,
             .parameters = {expire, refresh, want_refresh},
             .answers = {{200, "token object"}, {401, "token not accepted"}, {403, "user-token-renew is lacking"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/self/logoff",
             .requirement = Requirement::free(),  // the credential may be a refresh token
             .handler = [wiring](Context& context) { return logoff(wiring, context.request); },
             .summary = "Void the presented tokens",
             .tag = kTag,
             .parameters = {refresh},
             .answers = {{200, "done", ""}, {401, "no valid token"}}});
  add_totp_routes(table, wiring);
}

}  // namespace appmesh::api

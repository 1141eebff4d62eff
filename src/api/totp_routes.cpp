#include <algorithm>
#include <string>
#include <utility>

#include <boost/json/object.hpp>
#include <fmt/format.h>

#include "api/auth_routes.h"
#include "api/session.h"
#include "api/text_checks.h"
#include "platform/clock.h"
#include "security/passwords.h"
#include "store/base64.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr const char* kTag = "Authentication";
constexpr std::string_view kOwnPermission = "user-totp-active";
constexpr std::string_view kOthersPermission = "user-totp-disable";
constexpr std::chrono::seconds kFactorIsFresh = std::chrono::minutes(10);

std::string challenge_of(std::string_view token) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : token) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return fmt::format("H{}", hash);
}

std::string text_field(const json::object& body, std::string_view name) {
  const json::value* value = body.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string{};
}

// Who only has a session must not get rid of a factor that is on: a code is to be shown now, or was for this session
// not long ago.
Result<void> require_fresh_factor(const AuthRoutes& wiring, const Context& context) {
  const Request& request = context.request;
  const auto now = platform::wall_now();
  const auto snapshot = wiring.users.snapshot();
  const security::User* user = snapshot->find(context.principal->user);
  if (user == nullptr || !user->mfa_enabled) return {};
  if (const auto code = filled(request, "X-Totp-Code")) return wiring.totp.use(*user, std::string(*code), now);
  const auto presented = wiring.tokens.verify_any_audience(request.token().value_or(""), now);
  if (!presented) return std::unexpected(presented.error());
  const auto age = std::chrono::seconds(core::epoch_seconds(now) - presented->claims->session.factor_time);
  if (age >= std::chrono::seconds(-1) && age <= kFactorIsFresh) return {};
  return fail(ErrorKind::permission_denied,
              "The second factor is on: give a code of it in the header X-Totp-Code, or log in with one again");
}

// Of the token that the request shows; empty when it is none any more.
std::string session_of(const AuthRoutes& wiring, const Request& request) {
  const auto presented = wiring.tokens.verify_any_audience(request.token().value_or(""), platform::wall_now());
  return presented ? presented->claims->session.id : std::string{};
}

asio::awaitable<Response> new_secret(const AuthRoutes& wiring, const Context& context) {
  const std::string user = context.principal->user;
  if (auto fresh = require_fresh_factor(wiring, context); !fresh) co_return refusal(fresh.error());
  auto secret = security::make_totp_secret();
  const std::string uri = security::totp_uri(user, secret);
  const auto saved = co_await wiring.workers.run(
      [&users = wiring.users, &user, &secret] { return users.set_totp_secret(user, secret); });
  security::wipe(secret);
  if (!saved) co_return refusal(saved.error());
  co_return not_stored(json_response(json::object{{"mfa_uri", store::to_base64(uri)}}));
}

asio::awaitable<Response> set_up(const AuthRoutes& wiring, const Context& context) {
  const Request& request = context.request;
  const auto life = security::parse_token_life(request.header("X-Expire-Seconds").value_or(""));
  if (!life) co_return refusal(life.error());
  if (auto allowed = security::require_permission(*context.principal, kRenewPermission); !allowed)
    co_return refusal(allowed.error());
  const auto now = platform::wall_now();
  const std::string name = context.principal->user;
  const auto snapshot = wiring.users.snapshot();
  const security::User* user = snapshot->find(name);
  if (user == nullptr || user->mfa_next.empty())
    co_return refusal({ErrorKind::invalid_argument, "The user has no TOTP secret: ask for one first", {}});
  if (auto good = wiring.totp.check(*user, std::string(request.header("X-Totp-Code").value_or("")), now); !good)
    co_return refusal(good.error());
  const std::string session_id = session_of(wiring, request);
  const auto saved = co_await wiring.workers.run([&users = wiring.users, confirmed = *user, &session_id, now] {
    return users.enable_totp(confirmed, session_id, now);
  });
  if (!saved) co_return refusal(saved.error());

  auto presented = wiring.tokens.verify_any_audience(*request.token(), now);
  if (!presented) co_return refusal(presented.error());
  auto session = co_await replace_session(wiring, presented->claims, presented->claims, presented->claims->audience,
                                          *life, false, core::epoch_seconds(now));
  if (!session) co_return refusal(session.error());
  co_return session_response(*session, request.cookie(kAuthCookie).has_value());
}

asio::awaitable<Response> validate(const AuthRoutes& wiring, const Request& request) {
  const auto body = parse_json_object(request);
  if (!body) co_return refusal(body.error());
  if (auto known = refuse_unknown_fields(*body, {"user_name", "totp_code", "totp_challenge", "expire_seconds"}); !known)
    co_return refusal(known.error());
  const std::string name = text_field(*body, "user_name");
  const std::string code = text_field(*body, "totp_code");
  if (name.empty()) co_return refusal({ErrorKind::invalid_argument, "field 'user_name': required", {}});
  if (code.empty()) co_return refusal({ErrorKind::invalid_argument, "field 'totp_code': required", {}});
  const auto snapshot = wiring.users.snapshot();
  const security::User* user = snapshot->find(name);
  if (user != nullptr && !user->mfa_enabled)
    co_return refusal({ErrorKind::invalid_argument, "The account has no second factor", {}});
  const auto now = platform::wall_now();
  const auto pending = wiring.pending->find(name, text_field(*body, "totp_challenge"), now);
  if (user == nullptr || !pending)
    co_return refusal({ErrorKind::unauthenticated, "The TOTP challenge is unknown or has expired", {}});
  if (auto good = wiring.totp.use(*user, code, now); !good) co_return refusal(good.error());
  // Lock, password change and logoff since then count.
  if (auto still = wiring.tokens.verify_any_audience(pending->access_token, now); !still)
    co_return refusal(still.error());
  Session session = *pending;
  session.expires_in =
      std::clamp<std::int64_t>(session.claims.expires - core::epoch_seconds(now), 0, session.expires_in);
  co_return session_response(session, request.transport == TransportKind::https && is_set(request, "X-Set-Cookie"));
}

asio::awaitable<Response> disable(const AuthRoutes& wiring, const Context& context) {
  const std::string& asked = context.variable("user");
  const std::string user = asked == "self" ? context.principal->user : asked;
  const auto needed = user == context.principal->user ? kOwnPermission : kOthersPermission;
  if (auto allowed = security::require_permission(*context.principal, needed); !allowed)
    co_return refusal(allowed.error());
  const bool own = user == context.principal->user;
  if (own)
    if (auto fresh = require_fresh_factor(wiring, context); !fresh) co_return refusal(fresh.error());
  const std::string kept = own ? session_of(wiring, context.request) : std::string{};
  const auto saved = co_await wiring.workers.run(
      [&users = wiring.users, &user, &kept] { return users.disable_totp(user, kept, platform::wall_now()); });
  if (!saved) co_return refusal(saved.error());
  co_return text_response("2FA deactive success");
}

}  // namespace

Response totp_challenge(const AuthRoutes& wiring, Session session) {
  const std::string user = session.claims.user;
  const auto ticket =
      wiring.pending->add(user, std::make_shared<const Session>(std::move(session)), platform::wall_now());
  Response response = not_stored(json_response(json::object{{"status", "TOTP_CHALLENGE_REQUIRED"},
                                                            {"digits", 6},
                                                            {"algorithm", "SHA1"},
                                                            {"period", 30},
                                                            {"totp_challenge", ticket.challenge},
                                                            {"expires", core::epoch_seconds(ticket.expires)}},
                                               428));
  response.add_header("WWW-Authenticate", R"(TOTP realm="TOTP Authentication", qop="auth")");
  return response;
}

PendingLogins::Ticket PendingLogins::add(const std::string& user, std::shared_ptr<const Session> session,
                                         core::WallTime now) {
  Ticket ticket{.challenge = challenge_of(session->access_token), .expires = now + kLife};
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const auto& entry) { return entry.second.ticket.expires <= now; });
  entries_.insert_or_assign(user, Entry{ticket, std::move(session)});
  return ticket;
}

std::shared_ptr<const Session> PendingLogins::find(std::string_view user, std::string_view challenge,
                                                   core::WallTime now) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(user);
  if (found == entries_.end() || found->second.ticket.challenge != challenge || found->second.ticket.expires <= now)
    return nullptr;
  return found->second.session;
}

void add_totp_routes(RouteTable& table, const AuthRoutes& wiring) {
  using In = Parameter::In;
  const Parameter code{In::header, "X-Totp-Code",
                       "a code of the factor that is on; not needed within ten minutes of a login with one"};
  table.add({.method = Method::post,
             .pattern = "/appmesh/totp/secret",
             .requirement = Requirement::permission(std::string(kOwnPermission)),
             .handler = [wiring](Context& context) { return new_secret(wiring, context); },
             .summary = "Make a new TOTP secret; nothing changes until it is set up",
             .tag = kTag,
             .parameters = {code},
             .answers = {{200, "mfa_uri: base64 of an otpauth:// address"},
                         {401, "wrong code"},
                         {403, "the second factor is on, and no code was shown"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/totp/setup",
             .requirement = Requirement::permission(std::string(kOwnPermission)),
             .handler = [wiring](Context& context) { return set_up(wiring, context); },
             .summary =
                 "Switch the second factor on, or to a new secret, with a first code; the token is renewed and all "
                 "other sessions of the user end",
             .tag = kTag,
             .parameters = {{In::header, "X-Totp-Code", "six digits", true},
                            {In::header, "X-Expire-Seconds", "of the new token"}},
             .answers = {{200, "token object"}, {400, "no secret yet"}, {401, "wrong code"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/totp/validate",
             .requirement = Requirement::free(),  // the challenge and the code are the credentials
             .handler = [wiring](Context& context) { return validate(wiring, context.request); },
             .summary = "Answer the challenge of a login with a code",
             .tag = kTag,
             .parameters = {{In::header, "X-Set-Cookie", "true: also set the cookie appmesh_auth_token"}},
             .request_type = std::string(kJsonType),
             .answers = {{200, "token object"},
                         {400, "a field is missing, or the account has no second factor"},
                         {401, "challenge unknown or expired, or a wrong code"}}});
  table.add(
      {.method = Method::post,
       .pattern = "/appmesh/totp/{user}/disable",
       .requirement = Requirement::token(),  // which permission depends on whose account it is
       .handler = [wiring](Context& context) { return disable(wiring, context); },
       .summary = "Switch the second factor of an account off (self: the caller's); its other sessions end",
       .tag = kTag,
       .parameters = {code},
       .answers = {{200, "2FA deactive success", std::string(kTextType)},
                   {401, "wrong code"},
                   {403, "user-totp-active for one's own account, user-totp-disable for another; or no code was shown"},
                   {404, "no such user"}}});
}

}  // namespace appmesh::api

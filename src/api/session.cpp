#include "api/session.h"

#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>

#include "platform/clock.h"

namespace appmesh::api {

namespace asio = boost::asio;
namespace json = boost::json;
using security::Claims;

bool is_set(const Request& request, std::string_view header) {
  const auto value = request.header(header);
  return value && (*value == "true" || *value == "1");
}

std::optional<std::string_view> filled(const Request& request, std::string_view header) {
  const auto value = request.header(header);
  return value && !value->empty() ? value : std::nullopt;
}

Response not_stored(Response response) {
  response.add_header("Cache-Control", "no-store").add_header("Pragma", "no-cache");
  return response;
}

Response refusal(const Error& error) {
  return not_stored(error_response(error));
}

void set_cookie(Response& response, std::string_view token, std::int64_t seconds) {
  response.add_header("Set-Cookie",
                      std::string(kAuthCookie) + "=" + std::string(token) +
                          "; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=" + std::to_string(seconds));
}

Response session_response(const Session& session, bool with_cookie) {
  json::object body{
      {"token_type", "Bearer"},
      {"access_token", session.access_token},
      {"expires_in", session.expires_in},
      {"expire_time", session.claims.expires},
      {"issued_at", session.claims.issued_at},
      {"profile", {{"name", session.claims.user}, {"group", session.group}, {"auth_time", session.claims.issued_at}}}};
  if (session.refresh_token) body["refresh_token"] = *session.refresh_token;
  Response response = not_stored(json_response(body));
  if (with_cookie) set_cookie(response, session.access_token, session.expires_in);
  return response;
}

Result<Session> open_session(const AuthRoutes& wiring, const std::string& user, std::string_view audience,
                             std::chrono::seconds life, bool with_refresh, const security::SessionOrigin& origin) {
  const auto now = platform::wall_now();
  auto access = wiring.tokens.issue(user, audience, life, now, origin);
  if (!access) return std::unexpected(access.error());
  const auto snapshot = wiring.users.snapshot();
  const security::User* known = snapshot->find(user);
  Session session{.access_token = std::move(access->text),
                  .claims = std::move(access->claims),
                  .expires_in = life.count(),
                  .group = known == nullptr ? std::string{} : known->group};
  if (with_refresh) {
    auto refresh = wiring.tokens.issue(user, security::kRefreshAudience, security::refresh_life(life), now,
                                       session.claims.session);
    if (!refresh) return std::unexpected(refresh.error());
    session.refresh_token = std::move(refresh->text);
  }
  return session;
}

asio::awaitable<Result<Session>> replace_session(const AuthRoutes& wiring, std::shared_ptr<const Claims> presented,
                                                 std::shared_ptr<const Claims> access, std::string audience,
                                                 std::chrono::seconds life, bool with_refresh,
                                                 std::int64_t factor_time) {
  security::SessionOrigin origin = presented->session;
  if (factor_time != 0) origin.factor_time = factor_time;
  auto session = open_session(wiring, presented->user, audience, life, with_refresh, origin);
  if (!session) co_return session;
  // Before the old token is void, or what rests on it would end.
  const auto made = std::make_shared<const Claims>(session->claims);
  if (access) wiring.long_requests.renewed(access->jti, made);
  auto consumed = co_await revoke(wiring.tokens, presented);
  if (consumed && *consumed) {
    if (access) wiring.long_requests.renewed(access->jti, made);  // what a loser gave back
    co_return session;
  }
  if (access) wiring.long_requests.renewed(made->jti, access);
  if (!consumed) co_return std::unexpected(std::move(consumed.error()));
  co_return fail(ErrorKind::unauthenticated, presented->audience == security::kRefreshAudience
                                                 ? "Refresh token has been revoked"
                                                 : "Token has been revoked");
}

asio::awaitable<Result<bool>> revoke(security::Tokens& tokens, std::shared_ptr<const Claims> claims) {
  const auto executor = co_await asio::this_coro::executor;
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>&, void(Result<bool>)>(
      [&tokens, &executor, &claims](auto handler) {
        // Shared: the store drops its callback when there is nothing to write, and then this side answers.
        auto waiting = std::make_shared<decltype(handler)>(std::move(handler));
        const auto answer = [waiting, executor](Result<bool> result) {
          asio::post(executor,
                     [waiting, result = std::move(result)]() mutable { std::move (*waiting)(std::move(result)); });
        };
        auto revoked = tokens.revoke(*claims, platform::wall_now(), [answer](Result<void> stored) {
          answer(stored ? Result<bool>(true) : Result<bool>(std::unexpected(std::move(stored.error()))));
        });
        if (!revoked || !*revoked) answer(std::move(revoked));
      },
      asio::use_awaitable);
}

}  // namespace appmesh::api

// What the routes that end in a token object share (docs/wire.md#authentication): opening a session, writing it as
// an answer, voiding a token. Any I/O thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "api/auth_routes.h"
#include "api/request.h"
#include "core/error.h"
#include "security/tokens.h"

namespace appmesh::api {

inline constexpr std::string_view kRenewPermission = "user-token-renew";

[[nodiscard]] bool is_set(const Request& request, std::string_view header);  // "true" or "1"
// A header that is there and says something.
[[nodiscard]] std::optional<std::string_view> filled(const Request& request, std::string_view header);

// No cache may keep what a route of this kind says.
[[nodiscard]] Response not_stored(Response response);
[[nodiscard]] Response refusal(const Error& error);
void set_cookie(Response& response, std::string_view token, std::int64_t seconds);  // 0: removes it

struct Session {
  std::string access_token;
  security::Claims claims;
  std::int64_t expires_in = 0;
  std::string group;
  std::optional<std::string> refresh_token = {};
};

[[nodiscard]] Response session_response(const Session& session, bool with_cookie);
[[nodiscard]] Result<Session> open_session(const AuthRoutes& wiring, const std::string& user, std::string_view audience,
                                           std::chrono::seconds life, bool with_refresh,
                                           const security::SessionOrigin& origin);

// A session in place of a presented token: whoever voids that token gets the new one, so of two that show the same
// token at once one wins. It is the same session, with the factor shown at `factor_time` (0: when the old one says).
// What rests on `access` (null: nothing) rests on the new session from then on. Errors:
// unauthenticated when somebody else was first.
[[nodiscard]] boost::asio::awaitable<Result<Session>> replace_session(const AuthRoutes& wiring,
                                                                      std::shared_ptr<const security::Claims> presented,
                                                                      std::shared_ptr<const security::Claims> access,
                                                                      std::string audience, std::chrono::seconds life,
                                                                      bool with_refresh, std::int64_t factor_time = 0);

// Voids the token and waits for the commit. True: it was this call that did it.
[[nodiscard]] boost::asio::awaitable<Result<bool>> revoke(security::Tokens& tokens,
                                                          std::shared_ptr<const security::Claims> claims);

}  // namespace appmesh::api

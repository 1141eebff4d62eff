#include <appmesh/client.h>
#include <appmesh/url.h>
#include <appmesh/wire/json_text.h>

#include "client_json.h"
#include "session.h"

namespace appmesh {
namespace {

std::optional<std::string> base64url_decode(std::string_view text) {
  std::string out;
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    int value = -1;
    if (c >= 'A' && c <= 'Z') value = c - 'A';
    if (c >= 'a' && c <= 'z') value = c - 'a' + 26;
    if (c >= '0' && c <= '9') value = c - '0' + 52;
    if (c == '-' || c == '+') value = 62;
    if (c == '_' || c == '/') value = 63;
    if (c == '=') break;
    if (value < 0) return std::nullopt;
    group = (group << 6 | static_cast<std::uint32_t>(value)) & 0xffffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<char>(group >> bits & 0xff));
    }
  }
  return out;
}

}  // namespace

std::optional<TokenInfo> read_token(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto payload = base64url_decode(token.substr(first + 1, second - first - 1));
  if (!payload) return std::nullopt;
  boost::system::error_code error;
  const boost::json::value claims = wire::read_json(*payload, error);
  if (error || !claims.is_object()) return std::nullopt;
  const App fields(claims.get_object());
  return TokenInfo{fields.text("sub").value_or(""), fields.text("aud").value_or(""), fields.number("iat").value_or(0),
                   fields.number("exp").value_or(0)};
}

void Client::take_token(const Response& response) {
  const App reply(detail::parse_object(response));
  const auto token = reply.text("access_token");
  if (!token || token->empty()) throw ClientError(ErrorKind::kProtocol, "the server's answer holds no access_token");
  set_token(*token);
}

std::optional<TotpChallenge> Client::login(std::string_view user, std::string_view password,
                                           const LoginOptions& options) {
  if (user.find(':') != std::string_view::npos) {
    throw ClientError(ErrorKind::kUsage, "a user name may not contain ':'");
  }
  Request request;
  request.method = "POST";
  request.path = "/appmesh/login";
  std::string credentials(user);
  credentials.append(":").append(password);
  request.headers.emplace_back("Authorization", "Basic " + base64_encode(credentials));
  if (!options.totp_code.empty()) request.headers.emplace_back("X-Totp-Code", options.totp_code);
  if (!options.audience.empty()) request.headers.emplace_back("X-Audience", options.audience);
  if (options.expire.count() > 0) {
    request.headers.emplace_back("X-Expire-Seconds", std::to_string(options.expire.count()));
  }
  const Response response = exchange(std::move(request));
  if (response.status == 428) {
    const App reply(detail::parse_object(response));
    return TotpChallenge{reply.text("totp_challenge").value_or(""), reply.number("expires").value_or(0)};
  }
  if (response.status != 200) detail::fail(response);
  take_token(response);
  return std::nullopt;
}

void Client::validate_totp(std::string_view user, std::string_view challenge, std::string_view code,
                           std::chrono::seconds expire) {
  App body;
  body.set("user_name", boost::json::string(user))
      .set("totp_code", boost::json::string(code))
      .set("totp_challenge", boost::json::string(challenge));
  if (expire.count() > 0) body.set("expire_seconds", expire.count());
  take_token(send("POST", "/appmesh/totp/validate", {}, wire::write_json(body.json())));
}

namespace {

Request with_code(std::string path, std::string_view code) {
  Request request;
  request.method = "POST";
  request.path = std::move(path);
  if (!code.empty()) request.headers.emplace_back("X-Totp-Code", code);
  return request;
}

}  // namespace

std::string Client::new_totp_secret(std::string_view current_code) {
  const App reply(detail::parse_object(call(with_code("/appmesh/totp/secret", current_code))));
  const auto address = base64url_decode(reply.text("mfa_uri").value_or(""));
  if (!address || !address->starts_with("otpauth://")) {
    throw ClientError(ErrorKind::kProtocol, "the server's answer holds no mfa_uri");
  }
  return *address;
}

void Client::enable_totp(std::string_view code) {
  take_token(call(with_code("/appmesh/totp/setup", code)));
}

void Client::disable_totp(std::string_view user, std::string_view current_code) {
  call(with_code("/appmesh/totp/" + percent_encode(user) + "/disable", current_code));
}

boost::json::object Client::authenticate(std::string_view permission, std::string_view audience) {
  Request request;
  request.method = "POST";
  request.path = "/appmesh/auth";
  if (!permission.empty()) request.headers.emplace_back("X-Permission", permission);
  if (!audience.empty()) request.headers.emplace_back("X-Audience", audience);
  return detail::parse_object(call(std::move(request)));
}

void Client::renew(std::chrono::seconds expire) {
  Request request;
  request.method = "POST";
  request.path = detail::kRenewPath;
  if (expire.count() > 0) request.headers.emplace_back("X-Expire-Seconds", std::to_string(expire.count()));
  struct Renewal {
    Session& session;
    explicit Renewal(Session& own) : session(own) {
      const std::lock_guard lock(session.mutex);
      ++session.renewals;
    }
    ~Renewal() {
      const std::lock_guard lock(session.mutex);
      --session.renewals;
      session.renewed.notify_all();
    }
  } renewal{*session_};
  take_token(call(std::move(request)));
}

void Client::logoff() {
  send("POST", "/appmesh/self/logoff");
  set_token({});
}

}  // namespace appmesh

// One request and one response as every transport makes and takes them: no handler knows a socket. Plain values; a
// request is owned by the coroutine that serves it and stays where it is until the response is made, so views into it
// are good that long.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json/value.hpp>

#include "core/error.h"

namespace appmesh::api {

enum class Method : std::uint8_t { get, post, put, del, head, options, other };  // routable ones first
enum class TransportKind : std::uint8_t { https, tcp, websocket };

[[nodiscard]] Method parse_method(std::string_view text);  // case as on the wire: "GET"; anything unknown is `other`
[[nodiscard]] std::string_view to_string(Method method);

using NameValue = std::pair<std::string, std::string>;

class BodyReader;  // api/body.h, like the next two
class BodySink;
class BodySource;
class Connection;     // api/connection.h
class LongRight;      // api/long_requests.h
class SocketHandler;  // api/socket.h

struct Request {
  Method method = Method::get;
  std::string path;                // as sent, still percent-encoded, without query, "//" collapsed to "/"
  std::vector<NameValue> query;    // percent-decoded, '+' is a space, in order
  std::vector<NameValue> headers;  // as sent, in order; names are compared without case
  std::string body;
  TransportKind transport = TransportKind::https;
  std::string peer;                         // address text of the other end, without port
  std::string id;                           // short, for the log and for 500 answers
  std::shared_ptr<BodyReader> body_reader;  // in place of `body` for a route that streams it; HTTP only
  std::shared_ptr<Connection> connection;   // TCP and WebSocket; null where nothing can be sent unasked
  bool wants_socket = false;  // HTTP: a WebSocket of the sub-protocol kSocketProtocol is asked for (api/socket.h)
  // What the caller's right rests on, of a route that lasts (Route::lasts) and needs a token.
  std::shared_ptr<LongRight> right;
  // Takes what to call, on the connection's thread, when the peer hangs up before it has its answer; the last one given
  // counts, and it is dropped with the answer. Only for routes that last. May be empty.
  std::function<void(std::move_only_function<void()>)> when_peer_leaves;

  // First value of that name. A parameter that is there without a value is an empty string.
  [[nodiscard]] std::optional<std::string_view> query_value(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> cookie(std::string_view name) const;  // HTTP only

  // The JWT that the caller shows: "Authorization: Bearer x" (or the bare JWT), else over HTTP the cookie
  // appmesh_auth_token. Nothing when there is neither, when it is empty, or when the scheme is another one.
  [[nodiscard]] std::optional<std::string_view> token() const;
};

inline constexpr std::string_view kAuthCookie = "appmesh_auth_token";
inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kTextType = "text/plain; charset=utf-8";

struct Response {
  int status = 200;
  std::string content_type;        // empty with an empty body: no Content-Type header
  std::vector<NameValue> headers;  // never Content-Type, Content-Length, Connection or Date: those are the transport's
  std::string body;
  std::string log_note;                            // the cause of a 500: for the log, never sent
  std::shared_ptr<const std::string> shared_body;  // when set, `body` is ignored: one text for many answers
  std::shared_ptr<BodySource> stream;              // when set, both are ignored: HTTP only
  std::shared_ptr<SocketHandler> socket;           // only when wanted: the connection becomes a WebSocket for it
  std::shared_ptr<void> hold;                      // dropped when the answer is on its way, see Connection::hold_pushes
  std::shared_ptr<LongRight> right;                // of what goes on: with it the stream, socket or file ends
  bool patient = false;                            // it may leave a moment later, with another answer of the connection
  bool relayed = false;                            // another daemon's answer: even its 500 goes out as it is
  // TCP only, docs/wire.md#tcp-files: chunk frames that follow the answer on the connection, to the peer or from it.
  std::shared_ptr<BodySource> frames_out;
  std::shared_ptr<BodySink> frames_in;

  [[nodiscard]] std::string_view body_view() const {
    return shared_body ? std::string_view(*shared_body) : std::string_view(body);
  }
  Response& add_header(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
    return *this;
  }
};

[[nodiscard]] Response json_response(const boost::json::value& value, int status = 200);
[[nodiscard]] Response json_text_response(std::string json, int status = 200);  // already serialised
[[nodiscard]] Response text_response(std::string text, int status = 200);
[[nodiscard]] Response message_response(std::string_view message, int status = 200);  // {"message":"..."}
// {"message":"..."} with the status of the error's kind. The cause is not shown. For `internal` Service replaces the
// message by the request id and logs both.
[[nodiscard]] Response error_response(const Error& error);

// Splits "/a//b?x=1&y=%20" into path and query. Errors: invalid_argument for a malformed percent-encoding of the query,
// a target that does not start with '/', more than kMaxQueryParameters, control characters.
struct Target {
  std::string path;
  std::vector<NameValue> query;
};
inline constexpr std::size_t kMaxQueryParameters = 256;
[[nodiscard]] Result<Target> parse_target(std::string_view target, bool plus_is_space = true);
[[nodiscard]] Result<std::string> percent_decode(std::string_view text);

// The body as JSON. Errors: invalid_argument, with the byte position and the reason when it is malformed, nested deeper
// than kMaxJsonDepth or longer than kMaxJsonBytes; "Empty json input" when the body is empty or null.
inline constexpr std::size_t kMaxJsonDepth = 32;
inline constexpr std::size_t kMaxJsonBytes = 16UL * 1024 * 1024;
[[nodiscard]] Result<boost::json::value> parse_json_body(const Request& request);
// The same, and invalid_argument "json object expected" when it is something else.
[[nodiscard]] Result<boost::json::object> parse_json_object(const Request& request);

}  // namespace appmesh::api

#include "transport/forward_tcp.h"

#include <utility>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>

#include "transport/caller_watch.h"
#include "transport/forward_frames.h"
#include "transport/forward_message.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kOneRecordBytes = 16UL * 1024;
constexpr std::string_view kEventPath = "/appmesh/event";

bool is_subscription(const api::Request& request) {
  return request.method == api::Method::post && request.path.ends_with("/subscribe");
}

// Section 1.8: percent-encoded over HTTP, plain here.
Result<std::vector<api::NameValue>> message_headers(const api::Request& request, unsigned hops) {
  auto headers = forward_headers(request, hops);
  if (request.transport != api::TransportKind::https) return headers;
  for (auto& [name, value] : headers) {
    if (!equal_no_case(name, "x-file-path")) continue;
    auto decoded = api::percent_decode(value);
    if (!decoded) return fail(ErrorKind::invalid_argument, "header 'X-File-Path': " + decoded.error().message);
    value = std::move(*decoded);
  }
  return headers;
}

std::string frame_head(const api::Request& request, const std::vector<api::NameValue>& headers) {
  // Over HTTP such a parameter is ignored too (section 2.4): the events would have no way back.
  std::vector<wire::TextPair> query;
  for (const auto& [name, value] : request.query) {
    if (name != "subscribe_events") query.emplace_back(name, value);
  }
  wire::Request shown;
  shown.uuid = request.id;
  shown.request_uri = request.path;
  shown.http_method = api::to_string(request.method);
  shown.client_addr = request.peer;
  std::string message;
  wire::append_request_head(message, shown, headers, query, static_cast<std::uint32_t>(request.body.size()));
  std::string out;
  wire::append_frame_header(out, static_cast<std::uint32_t>(message.size() + request.body.size()));
  return out.append(message);
}

asio::awaitable<bool> send(Outbound& connection, std::string head, std::string_view body) {
  if (head.size() + body.size() <= kOneRecordBytes) {
    head.append(body);
    co_return co_await connection.write(head);
  }
  const bool begun = co_await connection.write(head);
  if (!begun) co_return false;
  co_return co_await connection.write(body);
}

api::Response to_response(const wire::Response& message) {
  api::Response response;
  response.status = message.http_status;
  response.content_type = message.body_msg_type;
  response.body = message.body;
  response.relayed = true;
  for (const auto& [name, value] : message.headers) {
    if (equal_no_case(name, "content-type")) continue;
    if (is_answer_header(name)) response.add_header(std::string(name), std::string(value));
  }
  return response;
}

// What nobody here has asked for is left alone.
asio::awaitable<Result<api::Response>> read_answer(FrameReader& frames, std::string_view uuid) {
  for (;;) {
    const auto frame = co_await frames.next();
    if (!frame) co_return std::unexpected(frame.error());
    wire::Response message;
    const std::string_view problem = wire::parse_response(*frame, message);
    if (!problem.empty()) co_return fail(ErrorKind::bad_gateway, "malformed answer: " + std::string(problem));
    if (message.uuid != uuid && message.request_uri == kEventPath) continue;
    if (message.uuid != uuid || message.http_status < 200 || message.http_status > 599)
      co_return fail(ErrorKind::bad_gateway, "malformed answer: not to what was asked");
    co_return to_response(message);
  }
}

}  // namespace

asio::awaitable<Result<api::Response>> exchange_tcp(ForwardPool::Lease lease, const api::Request& request,
                                                    unsigned hops, bool& answered) {
  if (is_subscription(request))
    co_return fail(ErrorKind::method_not_allowed, "Events are not forwarded: subscribe at the daemon itself");
  if (request.body.size() > wire::kMaxMessageBytes - wire::kMaxTextBytes)
    co_return fail(ErrorKind::too_large, "the body is longer than a message may be");
  const auto headers = message_headers(request, hops);
  if (!headers) co_return std::unexpected(headers.error());

  Outbound& connection = lease.connection();
  const CallerWatch watch(request, connection);
  static_cast<void>(co_await send(connection, frame_head(request, *headers), request.body));
  // Whatever could not be sent: the other side may have said why before it hung up.
  FrameReader frames(connection);
  auto response = co_await read_answer(frames, request.id);
  answered = frames.started();
  if (response && !frames.has_rest()) lease.keep();
  co_return response;
}

}  // namespace appmesh::transport

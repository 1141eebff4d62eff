#include "transport/http_connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include "transport/http_body.h"
#include "transport/request_id.h"
#include "transport/websocket_connection.h"
#include "transport/websocket_upgrade.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kOneRecordBytes = 16UL * 1024;  // a response up to here is sent by one write

}  // namespace

HttpConnection::HttpConnection(std::shared_ptr<HttpShared> shared, IoThread& thread, TlsStream stream, std::string peer)
    : shared_(std::move(shared)),
      thread_(thread),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      deadline_(thread.deadlines(), [this] { stream_.close(); }) {}

HttpConnection::~HttpConnection() {
  static_cast<void>(account_body(0));
}

asio::awaitable<void> HttpConnection::run() {
  deadline_.set(shared_->limits.handshake_timeout);
  const Result<void> secured = co_await stream_.handshake();
  if (!secured) {
    spdlog::debug("TLS handshake with {}: {}", peer_, secured.error().message);
    co_return;
  }
  for (;;) {
    const bool go_on = co_await serve_one();
    if (!go_on) break;
  }
  if (web_socket_) {
    co_await web_socket_->run();
  } else {
    stream_.send_close_notify();
  }
}

asio::awaitable<bool> HttpConnection::serve_one() {
  if (input_.empty()) {
    const bool ready = co_await wait_for_bytes();
    if (!ready) co_return false;
  }
  RequestParser parser(shared_->limits.parser, [this](const api::Request& request) -> BodyRule {
    const std::uint64_t streamed = shared_->service->streamed_body_bytes(request);
    if (streamed > 0) return {.max_bytes = streamed, .streamed = true};
    return {.max_bytes = shared_->limits.parser.body_bytes};
  });
  BadRequest refusal;
  const Received received = co_await receive(parser, refusal);
  if (received == Received::closed) co_return false;
  busy_ = true;
  if (received == Received::refused) {
    co_await refuse(refusal);
    co_return false;
  }

  const bool go_on = co_await answer(parser);
  busy_ = false;
  co_return go_on && !stopping_;
}

asio::awaitable<bool> HttpConnection::answer(RequestParser& parser) {
  // No limit on the answer: a long-poll may take its time.
  deadline_.clear();
  api::Request request = parser.take();
  request.transport = api::TransportKind::https;
  request.peer = peer_;
  request.id = next_request_id();
  std::expected<std::string, api::Response> socket_head;
  if (asks_for_websocket(request) && names_protocol(request, api::kSocketProtocol)) {
    request.wants_socket = true;
    socket_head = accept_websocket(request, api::kSocketProtocol);
  } else if (shared_->messages && asks_for_websocket(request)) {
    if (auto refused = shared_->service->refuse_upgrade(request)) {
      co_await answer_last(*refused);
    } else {
      co_await upgrade(request);
    }
    co_return false;
  }
  request.when_peer_leaves = [this](std::move_only_function<void()> left) {
    peer_left_ = std::move(left);
    watch_for_hang_up();
  };
  std::shared_ptr<Body> body;
  if (parser.is_streamed()) request.body_reader = body = std::make_shared<Body>(*this, parser);
  const bool is_options = request.method == api::Method::options;
  api::Response response;
  if (socket_head) {
    response = co_await shared_->service->handle(std::move(request));
  } else {
    response = std::move(socket_head.error());
  }
  if (is_options && response.status == 204) response.status = shared_->options_status;
  peer_left_ = nullptr;
  if (body) body->end();
  static_cast<void>(account_body(0));

  if (response.socket) {
    const bool sent = co_await write(*socket_head);
    deadline_.clear();
    if (!sent) {
      response.socket->end(api::SocketEnd::by_peer);
    } else {
      co_await converse(response.socket, response.right);
    }
    co_return false;
  }

  ResponseStyle style;
  style.keep_alive = parser.keep_alive() && parser.done() && !stopping_;
  style.http_1_0 = parser.is_http_1_0();
  style.strict_transport_security = shared_->strict_transport_security;
  // RFC 9112 section 6.3: what has neither a length nor chunks ends with the connection.
  if (response.stream && style.http_1_0 && !response.stream->size_bytes()) style.keep_alive = false;
  bool sent = false;
  if (response.stream) {
    sent = co_await send_stream(response, style);
  } else {
    sent = co_await send(response, style);
  }
  if (sent && !parser.done()) co_await linger();
  co_return sent&& style.keep_alive;
}

asio::awaitable<void> HttpConnection::upgrade(const api::Request& request) {
  const auto head = accept_websocket(request);
  if (!head) co_return co_await answer_last(head.error());
  const bool sent = co_await write(*head);
  deadline_.clear();
  if (!sent || stopping_) co_return;
  web_socket_ = std::make_shared<WebSocketConnection>(shared_->messages, thread_, std::move(stream_), peer_,
                                                      std::exchange(input_, {}),
                                                      std::string(request.header("authorization").value_or("")));
}

// A watch that outlives its request serves the next one. Pipelined bytes end it: behind them no end can be seen.
void HttpConnection::watch_for_hang_up() {
  if (watching_peer_) return;
  watching_peer_ = true;
  stream_.when_readable([weak = weak_from_this()](bool readable) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->watching_peer_ = false;
    if (!self->peer_left_ || (readable && !self->stream_.peer_has_left())) return;
    std::exchange(self->peer_left_, nullptr)();
  });
}

// Nothing of a request is here: give back what memory there is and wait.
asio::awaitable<bool> HttpConnection::wait_for_bytes() {
  input_ = std::string();
  deadline_.set(shared_->limits.idle_timeout);
  if (stream_.has_pending()) co_return true;
  co_return co_await stream_.wait(TlsStream::State::want_read);
}

asio::awaitable<HttpConnection::Received> HttpConnection::receive(RequestParser& parser, BadRequest& refusal) {
  header_started_ = {};
  body_started_ = {};
  bool continued = false;
  if (!consume(parser, {}, refusal)) co_return Received::refused;
  for (int reads = 1; !parser.done() && !parser.is_streamed(); ++reads) {
    if (!continued && parser.header_done() && parser.expects_continue() && parser.body_bytes() == 0) {
      continued = true;
      const bool sent = co_await write("HTTP/1.1 100 Continue\r\n\r\n");
      if (!sent) co_return Received::closed;
    }
    const TlsStream::Outcome outcome = stream_.try_read(thread_.scratch());
    switch (outcome.state) {
      case TlsStream::State::done:
        if (!consume(parser, {thread_.scratch().data(), outcome.bytes}, refusal)) co_return Received::refused;
        if (reads % IoThread::kReadsPerTurn == 0) co_await asio::post(thread_.context(), asio::use_awaitable);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        set_receive_deadline(parser);
        const bool ready = co_await stream_.wait(outcome.state);
        if (!ready) co_return Received::closed;
        break;
      }
      default:
        co_return Received::closed;
    }
  }
  co_return Received::request;
}

bool HttpConnection::consume(RequestParser& parser, std::string_view fresh, BadRequest& refusal) {
  std::expected<std::size_t, BadRequest> used;
  if (input_.empty()) {
    used = parser.feed(fresh);
    if (used) input_.assign(fresh.substr(*used));
  } else {
    input_.append(fresh);
    used = parser.feed(input_);
    if (used) input_.erase(0, *used);
  }
  if (!used) {
    refusal = std::move(used.error());
    return false;
  }
  // The parser bounds the header; this bounds what it leaves, such as an endless chunk extension.
  if (!parser.done() && input_.size() > shared_->limits.parser.header_bytes + IoThread::kScratchBytes) {
    refusal = {431, "a line of the request is too long"};
    return false;
  }
  if (!account_body(parser.body_bytes())) {
    refusal = {503, "too many request bodies at once"};
    return false;
  }
  return true;
}

bool HttpConnection::account_body(std::size_t bytes) {
  if (bytes == accounted_body_bytes_) return true;
  const std::uint64_t change = static_cast<std::uint64_t>(bytes) - accounted_body_bytes_;  // modulo 2^64
  const std::uint64_t total = shared_->buffered_body_bytes.fetch_add(change, std::memory_order_relaxed) + change;
  const bool grew = bytes > accounted_body_bytes_;
  accounted_body_bytes_ = bytes;
  return !grew || total <= shared_->limits.buffered_body_bytes;
}

void HttpConnection::set_receive_deadline(const RequestParser& parser) {
  const HttpLimits& limits = shared_->limits;
  const auto now = Deadline::Clock::now();
  using std::chrono::milliseconds;
  if (parser.header_done()) {
    if (body_started_ == Deadline::Clock::time_point{}) body_started_ = now;
    const milliseconds earned(parser.body_bytes() * 1000 /
                              std::max<std::uint64_t>(limits.min_body_bytes_per_second, 1));
    const auto spent = std::chrono::duration_cast<milliseconds>(now - body_started_);
    deadline_.set(std::min(limits.body_timeout, limits.body_timeout + earned - spent));
  } else if (!input_.empty() && header_started_ == Deadline::Clock::time_point{}) {
    header_started_ = now;
    deadline_.set(limits.header_timeout);
  }
}

asio::awaitable<bool> HttpConnection::write(std::string_view data) {
  while (!data.empty()) {
    const TlsStream::Outcome outcome = stream_.try_write(data);
    switch (outcome.state) {
      case TlsStream::State::done:
        data.remove_prefix(outcome.bytes);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        deadline_.set(shared_->limits.write_timeout);
        const bool ready = co_await stream_.wait(outcome.state);
        if (!ready) co_return false;
        break;
      }
      default:
        co_return false;
    }
  }
  co_return true;
}

asio::awaitable<bool> HttpConnection::send(const api::Response& response, const ResponseStyle& style) {
  const std::string_view body = response.body_view();
  std::string out;
  out.reserve(512 + std::min(body.size(), kOneRecordBytes));
  append_head(out, response, style);
  const std::size_t room = out.size() < kOneRecordBytes ? kOneRecordBytes - out.size() : 0;
  const std::size_t beside_head = std::min(body.size(), room);
  out.append(body.substr(0, beside_head));
  const bool begun = co_await write(out);
  if (!begun) co_return false;
  if (beside_head == body.size()) co_return true;
  co_return co_await write(body.substr(beside_head));
}

asio::awaitable<void> HttpConnection::refuse(const BadRequest& refusal) {
  co_await answer_last(api::message_response(refusal.message, refusal.status));
}

asio::awaitable<void> HttpConnection::answer_last(const api::Response& response) {
  ResponseStyle style;
  style.keep_alive = false;
  style.strict_transport_security = shared_->strict_transport_security;
  const bool sent = co_await send(response, style);
  if (sent) co_await linger();
}

asio::awaitable<void> HttpConnection::linger() {
  stream_.send_close_notify();
  stream_.shut_down_sending();
  deadline_.set(shared_->limits.linger_timeout);
  co_await stream_.drain(thread_.scratch());
}

}  // namespace appmesh::transport

// A conversation that a route holds over a WebSocket (api/socket.h): one coroutine sends what the handler says, a
// second one of the same thread gives it what comes. RFC 6455.
#include <array>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "transport/http_connection.h"
#include "transport/wake.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;
using wire::WebSocketOpcode;

// Our clients ping more often; whoever is silent for longer has gone without a word.
constexpr std::chrono::milliseconds kSilence{120'000};
constexpr std::chrono::milliseconds kLastWordTime{1'000};
constexpr std::uint16_t kPolicyViolation = 1008;  // RFC 6455 section 7.4.1
constexpr int kReadsPerTurn = 16;

std::string close_payload(std::uint16_t code, std::string_view reason) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
  return payload.append(reason.substr(0, wire::kMaxWebSocketControlBytes - 2));
}

}  // namespace

// Shared by the two coroutines.
struct HttpConnection::Socket {
  explicit Socket(IoThread& thread, std::shared_ptr<api::SocketHandler> given, std::function<void()> silent)
      : handler(std::move(given)), silence(thread.deadlines(), std::move(silent)) {}

  std::shared_ptr<api::SocketHandler> handler;
  Deadline silence;
  Wake writer;  // the frame under way has been written
  Wake reader;  // the reader has ended
  bool is_writing = false;
  bool has_reader = true;
  bool is_ended = false;   // the handler has been told
  bool is_closed = false;  // a close frame was sent
  std::string bytes;       // received, not yet a frame
  std::string message;     // of frames that go on
  bool message_is_text = false;
  bool in_message = false;
  std::optional<std::string> lost;  // why the right to it is gone
};

asio::awaitable<void> HttpConnection::converse(std::shared_ptr<api::SocketHandler> handler,
                                               std::shared_ptr<api::LongRight> right) {
  socket_ = std::make_shared<Socket>(thread_, std::move(handler), [this] { stream_.close(); });
  const std::shared_ptr<Socket> socket = socket_;
  socket->bytes = std::exchange(input_, {});
  asio::co_spawn(thread_.context(), read_socket(shared_from_this(), socket), asio::detached);
  if (stopping_) end_socket(*socket, api::SocketEnd::by_daemon);
  const api::WhenLost when_lost(std::move(right), [self = weak_from_this(), weak = std::weak_ptr(socket),
                                                   &context = thread_.context()](const Error& why) {
    asio::post(context, [self, weak, why] {
      const auto connection = self.lock();
      const auto here = weak.lock();
      if (!connection || !here || here->is_ended) return;
      here->lost = why.message;
      connection->end_socket(*here, api::SocketEnd::by_right);
      here->silence.set(kLastWordTime);  // for a peer that reads nothing
    });
  });
  for (;;) {
    const auto message = co_await socket->handler->next();
    if (!message) break;
    const bool sent =
        co_await send_frame(*socket, message->is_text ? WebSocketOpcode::text : WebSocketOpcode::binary, message->data);
    if (!sent) break;
  }
  if (!socket->is_closed && stream_.is_open()) {
    std::uint16_t code = stopping_ ? wire::kWebSocketGoingAway : wire::kWebSocketNormal;
    if (socket->lost) code = kPolicyViolation;
    static_cast<void>(
        co_await send_frame(*socket, WebSocketOpcode::close, close_payload(code, socket->lost.value_or(""))));
  }
  end_socket(*socket, api::SocketEnd::by_daemon);
  // The close frame must not be lost by closing now: the peer answers it, or has had its time.
  stream_.send_close_notify();
  stream_.shut_down_sending();
  if (!socket->lost) socket->silence.set(shared_->limits.linger_timeout);
  if (socket->has_reader) co_await socket->reader.wait();
  stream_.close();
  socket_.reset();
}

void HttpConnection::stop_socket() {
  if (socket_) end_socket(*socket_, api::SocketEnd::by_daemon);
}

void HttpConnection::end_socket(Socket& socket, api::SocketEnd why) {
  if (std::exchange(socket.is_ended, true)) return;
  socket.handler->end(why);
}

asio::awaitable<void> HttpConnection::read_socket(std::shared_ptr<HttpConnection> self,
                                                  std::shared_ptr<Socket> socket) {
  socket->silence.set(kSilence);
  bool open = co_await self->take_frames(*socket);
  for (int reads = 1;; ++reads) {
    const TlsStream::Outcome outcome = self->stream_.try_read(self->thread_.scratch());
    if (outcome.state == TlsStream::State::done) {
      if (!open) continue;  // until the peer has read our last frame and closes
      socket->bytes.append(self->thread_.scratch().data(), outcome.bytes);
      socket->silence.clear();
      open = co_await self->take_frames(*socket);
      if (!socket->is_ended) socket->silence.set(kSilence);
      if (reads % kReadsPerTurn == 0) co_await asio::post(self->thread_.context(), asio::use_awaitable);
      continue;
    }
    if (outcome.state != TlsStream::State::want_read && outcome.state != TlsStream::State::want_write) break;
    const bool ready = co_await self->stream_.wait(outcome.state);
    if (!ready) break;
  }
  socket->has_reader = false;
  self->end_socket(*socket, api::SocketEnd::by_peer);
  socket->reader.notify();
}

asio::awaitable<bool> HttpConnection::take_frames(Socket& socket) {
  const auto refuse = [&](std::uint16_t code, std::string reason) -> asio::awaitable<bool> {
    if (!std::exchange(socket.is_closed, true))
      static_cast<void>(co_await send_frame(socket, WebSocketOpcode::close, close_payload(code, reason)));
    end_socket(socket, api::SocketEnd::by_peer);
    co_return false;
  };
  for (;;) {
    wire::WebSocketHead head;
    const wire::WebSocketRead read = wire::read_websocket_head(socket.bytes, head);
    if (read == wire::WebSocketRead::malformed) co_return co_await refuse(wire::kWebSocketProtocolError, "malformed");
    if (read == wire::WebSocketRead::incomplete) co_return true;
    if (!head.mask) co_return co_await refuse(wire::kWebSocketProtocolError, "a client's frames must be masked");
    if (head.payload_bytes > api::kMaxSocketMessageBytes ||
        (!head.is_control() && socket.message.size() + head.payload_bytes > api::kMaxSocketMessageBytes))
      co_return co_await refuse(wire::kWebSocketTooBig, "the message is too long");
    const auto length = static_cast<std::size_t>(head.payload_bytes);
    if (socket.bytes.size() < head.head_bytes + length) co_return true;
    std::string payload = socket.bytes.substr(head.head_bytes, length);
    socket.bytes.erase(0, head.head_bytes + length);
    wire::apply_websocket_mask(payload, *head.mask, 0);

    if (head.opcode == WebSocketOpcode::close) co_return co_await refuse(wire::kWebSocketNormal, "");
    if (head.opcode == WebSocketOpcode::ping) {
      const bool sent = co_await send_frame(socket, WebSocketOpcode::pong, payload);
      if (!sent) co_return false;
      continue;
    }
    if (head.opcode == WebSocketOpcode::pong) continue;
    if ((head.opcode == WebSocketOpcode::continuation) != socket.in_message)
      co_return co_await refuse(wire::kWebSocketProtocolError, "a message inside another, or none to go on with");
    if (!socket.in_message) socket.message_is_text = head.opcode == WebSocketOpcode::text;
    socket.in_message = !head.is_final;
    socket.message.append(payload);
    if (!head.is_final) continue;
    api::SocketMessage message{.is_text = socket.message_is_text, .data = std::exchange(socket.message, {})};
    if (socket.is_ended) co_return false;
    const auto taken = co_await socket.handler->take(std::move(message));
    if (!taken) co_return co_await refuse(wire::kWebSocketUnsupportedData, taken.error().message);
  }
}

asio::awaitable<bool> HttpConnection::send_frame(Socket& socket, WebSocketOpcode opcode, std::string_view payload) {
  while (socket.is_writing) co_await socket.writer.wait();
  socket.is_writing = true;
  if (opcode == WebSocketOpcode::close) socket.is_closed = true;
  std::string frame;
  wire::append_websocket_head(frame, opcode, payload.size());
  frame.append(payload);
  const bool sent = co_await write(frame);
  deadline_.clear();
  socket.is_writing = false;
  socket.writer.notify();
  co_return sent;
}

}  // namespace appmesh::transport

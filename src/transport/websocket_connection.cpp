#include "transport/websocket_connection.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;
using wire::WebSocketOpcode;

}  // namespace

WebSocketConnection::WebSocketConnection(std::shared_ptr<MessageShared> shared, IoThread& thread, TlsStream stream,
                                         std::string peer, std::string early, std::string authorization)
    : MessageConnection(std::move(shared), thread, std::move(stream), std::move(peer), api::TransportKind::websocket,
                        std::move(authorization)),
      early_(std::move(early)),
      silence_(thread.deadlines(), [this] {
        if (std::exchange(ping_sent_, true)) return close_because("it does not answer a ping");
        std::string ping;
        wire::append_websocket_head(ping, WebSocketOpcode::ping, 0);
        send_raw(ping);
        silence_.set(limits().pong_timeout);
      }) {}

asio::awaitable<void> WebSocketConnection::serve() {
  heard();
  std::string early = std::exchange(early_, {});
  bool open = consume(early);
  bool more = stream_.has_pending();
  for (int reads = 1; open; ++reads) {
    while (is_paused() && stream_.is_open() && !is_stopping()) co_await wait_for_room();
    if (is_ending()) break;
    TlsStream::Outcome outcome{TlsStream::State::want_read};
    if (more) outcome = stream_.try_read(thread_.scratch());
    switch (outcome.state) {
      case TlsStream::State::done:
        heard();
        open = consume({thread_.scratch().data(), outcome.bytes});
        more = in_frame_ || stream_.has_pending();
        if (reads % IoThread::kReadsPerTurn == 0) co_await asio::post(thread_.context(), asio::use_awaitable);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        set_receive_deadline();
        const bool ready = co_await stream_.wait(outcome.state);
        if (!ready) co_return;
        more = true;
        break;
      }
      default:
        co_return;
    }
  }
  // The close frame is on its way: closing now could make the kernel throw it away.
  std::exchange(message_, {});
  static_cast<void>(account_received(0));
  silence_.clear();
  receive_deadline_.set(limits().linger_timeout);
  co_await stream_.drain(thread_.scratch());
}

void WebSocketConnection::stop() {
  if (is_idle()) {
    close_with(wire::kWebSocketGoingAway, "the daemon ends");
    stream_.close();
  }
  MessageConnection::stop();
}

bool WebSocketConnection::consume(std::span<char> bytes) {
  begin_batch();
  bool open = true;
  while (open && !bytes.empty()) {
    if (!in_frame_) {
      const std::size_t before = head_bytes_.size();
      const std::size_t taken = std::min(bytes.size(), wire::kMaxWebSocketHeadBytes - before);
      head_bytes_.append(bytes.data(), taken);
      switch (wire::read_websocket_head(head_bytes_, head_)) {
        case wire::WebSocketRead::malformed:
          open = close_with(wire::kWebSocketProtocolError, "malformed frame");
          continue;
        case wire::WebSocketRead::incomplete:
          bytes = bytes.subspan(taken);
          continue;
        case wire::WebSocketRead::whole:
          break;
      }
      bytes = bytes.subspan(head_.head_bytes - before);
      head_bytes_.clear();
      open = begin_frame();
      if (!in_frame_) continue;
    }
    const auto part = bytes.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), head_.payload_bytes - payload_done_)));
    bytes = bytes.subspan(part.size());
    wire::apply_websocket_mask(part, *head_.mask, payload_done_);
    const std::string_view text(part.data(), part.size());
    payload_done_ += part.size();
    const bool at_once = part.size() == head_.payload_bytes;
    if (!at_once || (!head_.is_control() && (!message_.empty() || !head_.is_final))) {
      (head_.is_control() ? control_ : message_).append(text);
    }
    if (payload_done_ == head_.payload_bytes) open = end_frame(at_once ? text : std::string_view());
  }
  if (open && !account_received(message_.size())) {
    open = close_with(wire::kWebSocketTryAgainLater, "all connections together have too many messages under way");
  }
  end_batch();
  return open && stream_.is_open();
}

bool WebSocketConnection::begin_frame() {
  if (!head_.mask) return close_with(wire::kWebSocketProtocolError, "a client's frames must be masked");
  if (!head_.is_control()) {
    const bool is_continuation = head_.opcode == WebSocketOpcode::continuation;
    if (head_.opcode == WebSocketOpcode::text) {
      return close_with(wire::kWebSocketUnsupportedData, "only binary messages are understood");
    }
    if (is_continuation != in_message_) {
      return close_with(wire::kWebSocketProtocolError,
                        in_message_ ? "a message inside another" : "no message to go on with");
    }
    if (!in_message_) message_started_ = Deadline::Clock::now();
    in_message_ = true;
    if (head_.payload_bytes > limits().message_bytes - message_.size()) {
      return close_with(wire::kWebSocketTooBig, "the message is too long");
    }
  }
  payload_done_ = 0;
  in_frame_ = true;
  // A frame without payload is whole already.
  return head_.payload_bytes > 0 || end_frame({});
}

bool WebSocketConnection::end_frame(std::string_view whole) {
  in_frame_ = false;
  if (head_.is_control()) {
    const std::string collected = std::exchange(control_, {});
    return take_control(collected.empty() ? whole : std::string_view(collected));
  }
  if (!head_.is_final) return true;
  in_message_ = false;
  return take_message(whole);
}

bool WebSocketConnection::take_control(std::string_view payload) {
  std::string answer;
  switch (head_.opcode) {
    case WebSocketOpcode::ping:
      // While the peer does not read, one answer more is of no use to it.
      if (is_paused()) return true;
      wire::append_websocket_head(answer, WebSocketOpcode::pong, payload.size());
      send_raw(answer.append(payload));
      return true;
    case WebSocketOpcode::close: {
      if (payload.size() == 1) return close_with(wire::kWebSocketProtocolError, "a close code of one byte");
      wire::append_websocket_head(answer, WebSocketOpcode::close, std::min<std::size_t>(payload.size(), 2));
      send_raw(answer.append(payload.substr(0, 2)));
      end_when_sent();
      return false;
    }
    default:  // a pong: heard() has taken note
      return true;
  }
}

bool WebSocketConnection::take_message(std::string_view whole) {
  std::string collected = std::exchange(message_, {});
  const bool is_collected = !collected.empty();
  static_cast<void>(account_received(0));  // from here it is the request's
  if (!is_collected && whole.empty()) return true;
  const std::string_view problem = is_collected ? receive(std::move(collected), 0) : receive(whole);
  if (problem.empty()) return true;
  return close_with(wire::kWebSocketUnsupportedData, problem);
}

bool WebSocketConnection::close_with(std::uint16_t code, std::string_view reason) {
  if (is_ending()) return false;
  log_end(reason);
  std::string frame;
  reason = reason.substr(0, wire::kMaxWebSocketControlBytes - 2);
  wire::append_websocket_head(frame, WebSocketOpcode::close, 2 + reason.size());
  frame.push_back(static_cast<char>(code >> 8));
  frame.push_back(static_cast<char>(code & 0xFF));
  send_raw(frame.append(reason));
  end_when_sent();
  return false;
}

// What it has not begun to take is thrown away, so that the close frame has a chance.
void WebSocketConnection::end_slow_peer() {
  drop_unsent();
  close_with(wire::kWebSocketTryAgainLater, "it reads too slowly");
  receive_deadline_.set(limits().linger_timeout);
}

void WebSocketConnection::heard() {
  ping_sent_ = false;
  silence_.set(limits().silence_timeout);
}

void WebSocketConnection::set_receive_deadline() {
  if (is_ending()) return;  // it is that of the end
  using std::chrono::milliseconds;
  if (!in_message_) return receive_deadline_.clear();
  const milliseconds earned(message_.size() * 1000 / std::max<std::uint64_t>(limits().min_bytes_per_second, 1));
  const auto spent = std::chrono::duration_cast<milliseconds>(Deadline::Clock::now() - message_started_);
  receive_deadline_.set(std::min(limits().message_timeout, limits().message_timeout + earned - spent));
}

void WebSocketConnection::append_frame_head(std::string& out, std::size_t message_bytes) const {
  wire::append_websocket_head(out, WebSocketOpcode::binary, message_bytes);
}

}  // namespace appmesh::transport

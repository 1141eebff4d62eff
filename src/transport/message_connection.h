// One connection that carries msgpack messages: what TCP and WebSocket have in common. Many requests are answered at
// once, and their answers leave in the order in which they are made. Lives on one I/O thread; kept alive by run().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include <appmesh/wire/frame.h>
#include <boost/asio/awaitable.hpp>

#include "api/body.h"
#include "api/service.h"
#include "transport/deadlines.h"
#include "transport/io_pool.h"
#include "transport/listener.h"
#include "transport/outbox.h"
#include "transport/push_queue.h"
#include "transport/tls_stream.h"
#include "transport/wake.h"

namespace appmesh::transport {

struct MessageLimits {
  std::size_t message_bytes = wire::kMaxMessageBytes;  // inbound
  std::size_t outstanding = 1'000;                     // requests of one connection; beyond it 503
  std::size_t outstanding_of_all = 20'000;             // of the listener; beyond it 503
  std::uint64_t buffered_bytes = 512UL * 1024 * 1024;  // of all connections: messages being received or answered
  PushLimits outbound;                                 // a message more closes the connection
  std::uint64_t pause_bytes = 4UL * 1024 * 1024;       // unsent: then no request is read until the peer takes them
  std::chrono::milliseconds handshake_timeout{15'000};
  std::chrono::milliseconds message_timeout{
      30'000};  // plus the time that the received bytes take at min_bytes_per_second
  std::uint64_t min_bytes_per_second = 1024;
  std::chrono::milliseconds write_timeout{30'000};  // without the peer taking a byte

  // Of a WebSocket.
  std::chrono::milliseconds silence_timeout{120'000};  // then it is asked with a ping
  std::chrono::milliseconds pong_timeout{35'000};      // for anything to come after the ping
  std::chrono::milliseconds linger_timeout{3'000};     // for the peer to close after the last frame
};

// What the connections of a listener share.
struct MessageShared {
  MessageLimits limits;
  std::shared_ptr<api::Service> service;
  std::atomic<std::uint64_t> buffered_bytes{0};
  std::atomic<std::size_t> outstanding{0};
};

class MessageConnection : public Session, public std::enable_shared_from_this<MessageConnection> {
 public:
  // `authorization` counts for requests that bring none.
  MessageConnection(std::shared_ptr<MessageShared> shared, IoThread& thread, TlsStream stream, std::string peer,
                    api::TransportKind kind, std::string authorization = {});
  ~MessageConnection() override;
  MessageConnection(const MessageConnection&) = delete;
  MessageConnection& operator=(const MessageConnection&) = delete;

  boost::asio::awaitable<void> run() final;
  void stop() override;

 protected:
  // Receives until the connection ends.
  virtual boost::asio::awaitable<void> serve() = 0;
  // What goes before a message of that many bytes.
  virtual void append_frame_head(std::string& out, std::size_t message_bytes) const = 0;
  // What the peer sends from now on is a file, to its empty frame. False: not now, or not over this transport.
  virtual bool take_upload(std::shared_ptr<api::BodySink>) { return false; }
  // A file follows the answer that was made last. False: not over this transport.
  virtual bool send_file(std::shared_ptr<api::BodySource>) { return false; }
  // The peer does not take what we send; the reason is in the log. Closes.
  virtual void end_slow_peer() { stream_.close(); }

  boost::asio::awaitable<bool> handshake();

  // Starts to answer the request in `message`. What is wrong with it, or empty.
  [[nodiscard]] std::string_view receive(std::string_view message);
  // The same for a message from `start` to the end of a large buffer, whose memory becomes the request's body.
  [[nodiscard]] std::string_view receive(std::string buffer, std::size_t start);

  // Between these two, answers that are ready at once are collected, to leave in one record.
  void begin_batch() { in_batch_ = true; }
  void end_batch();

  void send_raw(std::string_view bytes);  // a control frame
  // Between these two nothing else is sent: answers and events wait. The file's bytes go past what waits to be sent;
  // false: the connection has ended.
  void begin_file() { sending_file_ = true; }
  void end_file();
  void end_upload() { upload_guard_.reset(); }
  boost::asio::awaitable<bool> send_now(std::string_view bytes);
  void flush();
  void end_when_sent();  // nothing more is sent after what waits now; serve() then ends the connection
  void drop_unsent() { outbox_.drop_unbegun(); }
  void close_because(std::string_view reason);
  void log_end(std::string_view reason) const;

  // Too much waits to be sent: the reader waits until the peer has taken it, or the connection ended.
  [[nodiscard]] bool is_paused() const {
    return outbox_.bytes() > limits().pause_bytes || outbox_.messages() > limits().outbound.messages / 2;
  }
  boost::asio::awaitable<void> wait_for_room() { return room_.wait(); }
  // Counts bytes of messages that are not whole yet. False: all connections together hold too much.
  [[nodiscard]] bool account_received(std::size_t bytes);

  [[nodiscard]] const MessageLimits& limits() const { return shared_->limits; }
  [[nodiscard]] bool is_stopping() const { return stopping_; }
  [[nodiscard]] bool is_ending() const { return ending_; }
  [[nodiscard]] bool is_idle() const { return outstanding_ == 0 && outbox_.empty(); }

  const std::shared_ptr<MessageShared> shared_;
  IoThread& thread_;
  TlsStream stream_;
  Deadline receive_deadline_;

 private:
  class Turn;
  [[nodiscard]] std::string_view receive(std::string_view message, std::string* owner);
  static boost::asio::awaitable<void> answer(std::shared_ptr<Turn> turn);
  struct Held {
    std::string uuid;
    std::string request_uri;
    api::Response response;
  };
  [[nodiscard]] api::WhenLost close_with(std::shared_ptr<api::LongRight> right);
  void reply(std::string_view uuid, std::string_view request_uri, api::Response response);
  void add(std::string_view uuid, std::string_view request_uri, api::Response& response,
           std::string_view body_start = {});
  void flush_soon();
  void take_pushes();
  std::shared_ptr<PushQueue> push_queue();
  [[nodiscard]] TlsStream::State write_some();
  boost::asio::awaitable<void> write_when_ready(TlsStream::State state);
  void written();
  void finish();

  const std::string peer_;
  const api::TransportKind kind_;
  const std::string authorization_;
  Deadline write_deadline_;
  Deadline company_deadline_;  // of patient answers that wait
  Outbox outbox_;
  std::shared_ptr<PushQueue> pushes_;  // once a request has come
  Wake room_;
  Wake file_room_;
  api::WhenLost upload_guard_;    // of the file that the peer sends
  api::WhenLost download_guard_;  // of the file that is sent to it
  std::deque<Held> held_;         // answers that were ready while a file was sent, as many and as much as may be unsent
  std::uint64_t held_bytes_ = 0;
  std::unordered_set<Turn*> waiting_;  // requests that want to know when the peer leaves
  std::size_t outstanding_ = 0;
  std::size_t accounted_ = 0;
  bool in_batch_ = false;
  bool urgent_ = false;  // something in the outbox is not patient
  bool flush_posted_ = false;
  bool writing_ = false;  // write_when_ready() runs
  bool sending_file_ = false;
  bool stopping_ = false;
  bool ending_ = false;  // end_when_sent()
};

}  // namespace appmesh::transport

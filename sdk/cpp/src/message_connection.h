// One connection of the TCP transport: messages in frames over TLS, many calls at once. Any thread may call; the
// connection lives as long as somebody holds it.
//
// Whoever waits reads: as long as there are only calls, one of the callers reads the connection and hands the answers
// of the others on, since passing an answer from one thread to another costs more than all the rest of a call. With the
// first subscription a thread of its own takes over, so that events come without calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

#include <appmesh/transport.h>

#include "frame_buffer.h"
#include "tls_connection.h"

namespace appmesh::detail {

class MessageConnection {
 public:
  // Called by whichever thread reads, in the order of arrival; must not wait for anybody.
  using EventHandler = std::function<void(const EventMessage&)>;
  using EndHandler = std::function<void(const std::string& reason)>;

  MessageConnection(const Url& url, SSL_CTX* context, const TransportOptions& options, tls::Deadline deadline,
                    int cancel, EventHandler on_event, EndHandler on_end);
  ~MessageConnection();

  Response call(const Request& request, tls::Deadline deadline, int cancel);
  void expect_events();
  // Ends every call with kClosed, on whichever thread it waits.
  void abort(const std::string& reason);
  [[nodiscard]] bool ended() const { return ended_.load(std::memory_order_acquire); }
  // False when the peer has hung up while nobody was reading.
  [[nodiscard]] bool usable();

 private:
  struct Waiter {
    Response answer;
    bool answered = false;
    std::condition_variable wake;
  };

  void send(std::string_view uuid, const Request& request, tls::Deadline deadline, int cancel);
  void wait_answer(Waiter& waiter, tls::Deadline deadline, int cancel);
  // Reads until one message was handed on. Only one thread at a time: `reading_`.
  void read_one(tls::Deadline deadline, int cancel);
  void read_for_events();
  void hand_on(std::string_view message);
  void end(const std::string& reason);
  void let_another_read();  // under mutex_

  const EventHandler on_event_;
  const EndHandler on_end_;
  const std::string prefix_;
  tls::Connection connection_;

  std::mutex sending_;  // one message after another
  std::mutex tls_;      // OpenSSL's state: held for one read or write that never waits
  std::string outgoing_;

  std::mutex mutex_;  // guards what follows; never held over I/O
  std::unordered_map<std::string, Waiter*> waiters_;
  bool reading_ = false;
  bool events_expected_ = false;
  std::string reason_;  // why it ended
  std::uint64_t count_ = 0;
  tls::Clock::time_point last_answer_;
  std::atomic<bool> ended_{false};

  FrameBuffer incoming_;  // only the thread that reads
  std::thread reader_;
};

}  // namespace appmesh::detail

// A TLS connection that we open to another daemon: name look-up, connect and handshake within one time limit, then
// reading and writing. Owned by whoever forwards over it; everything here happens on one I/O thread, and nothing holds
// that thread while it waits.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "core/error.h"
#include "transport/io_pool.h"
#include "transport/tls_context.h"
#include "transport/tls_stream.h"

namespace appmesh::transport {

class Outbound {
 public:
  // Error: bad_gateway with the step and the reason. At most kMaxAddresses addresses of a name are tried.
  [[nodiscard]] static boost::asio::awaitable<Result<std::unique_ptr<Outbound>>> open(
      IoThread& thread, std::string host, std::uint16_t port, std::shared_ptr<const TlsContext> tls,
      std::shared_ptr<TlsSessionSlot> sessions, std::chrono::milliseconds limit);
  Outbound(IoThread& thread, TlsStream stream);
  Outbound(const Outbound&) = delete;
  Outbound& operator=(const Outbound&) = delete;

  // All of it; false when the connection has failed, or the peer has taken nothing for kWriteTimeout.
  boost::asio::awaitable<bool> write(std::string_view data);
  // Waits as long as it takes; `closed` or `failed` at the end.
  boost::asio::awaitable<TlsStream::Outcome> read_some(std::span<char> buffer);
  // The same, but `want_read` when nothing has come within the limit.
  boost::asio::awaitable<TlsStream::Outcome> read_within(std::span<char> buffer, std::chrono::milliseconds limit);

  [[nodiscard]] bool is_quiet() { return stream_.is_quiet(); }
  [[nodiscard]] std::string problem() const { return stream_.problem(); }  // why it failed, when TLS knows
  void close() { stream_.close(); }
  [[nodiscard]] IoThread& thread() { return thread_; }

  static constexpr int kMaxAddresses = 4;
  static constexpr std::chrono::milliseconds kWriteTimeout{30'000};

 private:
  IoThread& thread_;
  TlsStream stream_;
  Deadline write_limit_;
};

}  // namespace appmesh::transport

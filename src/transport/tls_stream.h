// One end of one TLS connection, working straight on the descriptor (SSL_set_fd): an idle one costs a third of
// asio::ssl::stream. Owned by its connection; everything here happens on the connection's I/O thread. One reader and
// one writer at a time, but they may not overlap inside OpenSSL, which a single thread ensures.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <openssl/ssl.h>

#include "core/error.h"
#include "platform/unique_fd.h"
#include "transport/tls_context.h"

namespace appmesh::transport {

class TlsStream {
 public:
  enum class State : std::uint8_t { done, want_read, want_write, closed, failed };
  struct Outcome {
    State state = State::failed;
    std::size_t bytes = 0;  // with `done`
  };

  // `fd` is a connected, non-blocking TCP socket. Error: internal when memory or descriptors are short.
  [[nodiscard]] static Result<TlsStream> make(boost::asio::io_context& context, platform::UniqueFd fd,
                                              const TlsContext& tls);
  // The client's end, for a server of that name or address. The slot's session is offered, and new ones are kept there.
  [[nodiscard]] static Result<TlsStream> make_client(boost::asio::io_context& context, platform::UniqueFd fd,
                                                     const TlsContext& tls, const std::string& host,
                                                     std::shared_ptr<TlsSessionSlot> sessions);
  TlsStream(TlsStream&&) noexcept = default;
  TlsStream& operator=(TlsStream&&) = delete;

  // Errors: unauthenticated with OpenSSL's reason (bad bytes, old version, no certificate or a wrong one), unavailable
  // when the peer or close() ended it.
  boost::asio::awaitable<Result<void>> handshake();

  // What can be done now, without waiting.
  [[nodiscard]] Outcome try_read(std::span<char> buffer);
  [[nodiscard]] Outcome try_write(std::string_view data);
  // Waits until the socket is ready for what `state` wants; false when the stream was closed meanwhile.
  boost::asio::awaitable<bool> wait(State state);

  // True when decrypted or undecrypted bytes are buffered: then try_read() before waiting.
  [[nodiscard]] bool has_pending() const { return SSL_has_pending(ssl_.get()) == 1; }

  // Calls `readable` once when bytes or an end have come, or when the stream is closed (then with false).
  template <typename Readable>
  void when_readable(Readable readable) {
    socket_.async_wait(
        boost::asio::ip::tcp::socket::wait_read,
        [readable = std::move(readable)](const boost::system::error_code& error) mutable { readable(!error); });
  }
  [[nodiscard]] bool peer_has_left();  // it has closed its sending side, or the connection is broken

  // Open, and nothing has come that was not read: what a connection must be that is to carry the next request.
  [[nodiscard]] bool is_quiet();

  boost::asio::awaitable<Outcome> read_some(std::span<char> buffer);  // never want_*
  boost::asio::awaitable<bool> write(std::string_view data);          // all of it, or false

  void send_close_notify();  // tells the peer that no more comes; does not wait
  // While it is corked, the kernel sends full segments only (after 200 ms the rest too): for a file, where each record
  // would otherwise wake the reader.
  void cork(bool corked);
  void shut_down_sending();
  // Throws away what the peer still sends, so that closing does not reset the connection under our last answer. Ends
  // with the peer's end or with close().
  boost::asio::awaitable<void> drain(std::span<char> scratch);
  void close();                               // pending waits end
  void cancel_wait();                         // pending waits end as with close(), but the stream lives on
  [[nodiscard]] std::string problem() const;  // why it `failed`; empty when OpenSSL gave no reason
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  TlsStream(boost::asio::ip::tcp::socket socket, SSL* ssl) : socket_(std::move(socket)), ssl_(ssl) {}
  [[nodiscard]] Outcome outcome_of(int result, std::size_t bytes);
  [[nodiscard]] std::string handshake_problem() const;

  boost::asio::ip::tcp::socket socket_;
  std::shared_ptr<TlsSessionSlot> sessions_;  // of a client; OpenSSL knows its address
  std::unique_ptr<SSL, Free> ssl_;
  unsigned long problem_ = 0;  // OpenSSL's error that broke it
  bool broken_ = false;        // after a fatal error OpenSSL must not be asked for a shutdown
};

}  // namespace appmesh::transport

// One listening TLS port, whatever is spoken behind it: accepts on the pool's first thread, spreads connections over
// all of them, and bounds their number. Owned by the daemon; start(), reload_tls(), stop() and the destructor belong to
// one thread outside the pool, and the pool must outlive the listener.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "core/error.h"
#include "transport/io_pool.h"
#include "transport/tls_context.h"
#include "transport/tls_stream.h"

namespace appmesh::transport {

// One connection, from handshake to close. Lives on one I/O thread and is kept alive by run().
class Session {
 public:
  virtual ~Session() = default;
  virtual boost::asio::awaitable<void> run() = 0;
  // Ends now unless a request is being answered; then run() ends after the answer.
  virtual void stop() = 0;
};

// Called on the connection's thread, before the handshake.
using MakeSession = std::function<std::shared_ptr<Session>(IoThread&, TlsStream, std::string peer)>;

struct ListenOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6 text
  std::uint16_t port = 0;             // 0: any free one
  TlsOptions tls;
  std::size_t connections = 10'000;  // more wait in the backlog
  // So many connections share a thread before the next one is used; 0: they take the threads in turns.
  std::size_t fill_thread = 0;
  // Bind and listen, but take nobody until begin(): who connects before waits in the backlog.
  bool hold = false;
};

class Listener {
 public:
  // Errors: invalid_argument for a bad address or certificate, unavailable "listen on a:p: reason".
  [[nodiscard]] static Result<std::unique_ptr<Listener>> start(const ListenOptions& options, IoPool& pool,
                                                               MakeSession make_session);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // After ListenOptions::hold, once.
  void begin();

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::size_t connections() const;  // now

  // For new connections; what ALPN offers stays. On an error nothing changes.
  Result<void> reload_tls(TlsOptions options);

  // Stops listening and closes idle connections; busy ones close after their answer. Returns when that is done.
  void stop();

 private:
  class Acceptor;
  Listener(std::shared_ptr<Acceptor> acceptor, bool offer_http);
  std::shared_ptr<Acceptor> acceptor_;
  const bool offer_http_;
};

}  // namespace appmesh::transport

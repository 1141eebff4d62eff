// One HTTPS listener: accepts on the pool's first thread, spreads connections over all of them, and gives every request
// to the api room. Owned by the daemon; start(), stop() and the destructor belong to one thread outside the pool, and
// the pool must outlive the server. Everything that a peer can make us hold has a limit here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "api/service.h"
#include "core/error.h"
#include "transport/io_pool.h"
#include "transport/request_parser.h"
#include "transport/tls_context.h"

namespace appmesh::transport {

struct HttpLimits {
  ParserLimits parser;
  std::size_t connections = 10'000;
  std::uint64_t buffered_body_bytes = 512UL * 1024 * 1024;  // of all connections; beyond it 503
  std::chrono::milliseconds handshake_timeout{15'000};
  std::chrono::milliseconds header_timeout{15'000};  // from the first byte of a request to the end of its header
  std::chrono::milliseconds idle_timeout{120'000};
  std::chrono::milliseconds body_timeout{30'000};  // plus the time that the received bytes take at min_body_rate
  std::uint64_t min_body_bytes_per_second = 1024;
  std::chrono::milliseconds write_timeout{30'000};  // without the peer taking a byte
  std::chrono::milliseconds linger_timeout{3'000};  // for a peer that still sends after a refusal
};

struct HttpServerOptions {
  std::string address = "127.0.0.1";  // IPv4 or IPv6 text
  std::uint16_t port = 0;             // 0: any free one
  TlsOptions tls;
  bool strict_transport_security = false;
  HttpLimits limits;
};

class HttpServer {
 public:
  // Errors: invalid_argument for a bad address or certificate, unavailable "listen on a:p: reason".
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(const HttpServerOptions& options, IoPool& pool,
                                                                 std::shared_ptr<api::Service> service);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::size_t connections() const;  // now

  // For new connections. On an error nothing changes.
  Result<void> reload_tls(const TlsOptions& options);

  // Stops listening and closes idle connections; busy ones close after their answer. Returns when that is done.
  void stop();

 private:
  class Listener;
  explicit HttpServer(std::shared_ptr<Listener> listener);
  std::shared_ptr<Listener> listener_;
};

}  // namespace appmesh::transport

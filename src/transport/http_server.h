// The HTTPS listener. Everything that a peer can make us hold has a limit here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "api/service.h"
#include "core/error.h"
#include "transport/io_pool.h"
#include "transport/listener.h"
#include "transport/message_connection.h"
#include "transport/request_parser.h"

namespace appmesh::transport {

struct HttpLimits {
  ParserLimits parser;
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
  ListenOptions listen;
  bool strict_transport_security = false;
  int options_status = 204;                 // of an OPTIONS request
  std::optional<MessageLimits> web_socket;  // set: a connection may become a WebSocket
  HttpLimits limits;
};

// docs/wire.md#websocket: WebSocket, and HTTPS in the dialect that the published daemon speaks on that port.
[[nodiscard]] HttpServerOptions web_socket_options(ListenOptions listen);

// Errors: those of Listener::start().
[[nodiscard]] Result<std::unique_ptr<Listener>> serve_https(const HttpServerOptions& options, IoPool& pool,
                                                            std::shared_ptr<api::Service> service);

}  // namespace appmesh::transport

// The listener of the TCP transport: msgpack messages in frames, over TLS.
#pragma once

#include <memory>

#include "api/service.h"
#include "core/error.h"
#include "transport/io_pool.h"
#include "transport/listener.h"
#include "transport/message_connection.h"

namespace appmesh::transport {

struct TcpServerOptions {
  ListenOptions listen;
  MessageLimits limits;
};

// Errors: those of Listener::start().
[[nodiscard]] Result<std::unique_ptr<Listener>> serve_tcp(const TcpServerOptions& options, IoPool& pool,
                                                          std::shared_ptr<api::Service> service);

}  // namespace appmesh::transport

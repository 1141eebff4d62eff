// The HTTP request that opens a WebSocket (RFC 6455 section 4.2). Pure; any thread.
#pragma once

#include <expected>
#include <string>

#include "api/request.h"

namespace appmesh::transport {

[[nodiscard]] bool asks_for_websocket(const api::Request& request);

// The whole "101 Switching Protocols", or the answer that refuses: 400 with the reason, 426 for another version.
[[nodiscard]] std::expected<std::string, api::Response> accept_websocket(const api::Request& request);

}  // namespace appmesh::transport

// The HTTP request that opens a WebSocket (RFC 6455 section 4.2). Pure; any thread.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "api/request.h"

namespace appmesh::transport {

inline constexpr std::string_view kMessageProtocol = "appmesh-ws";  // docs/wire.md#websocket

[[nodiscard]] bool asks_for_websocket(const api::Request& request);
[[nodiscard]] bool names_protocol(const api::Request& request, std::string_view protocol);

// The whole "101 Switching Protocols", or the answer that refuses: 400 with the reason, 426 for another version.
[[nodiscard]] std::expected<std::string, api::Response> accept_websocket(const api::Request& request,
                                                                         std::string_view protocol = kMessageProtocol);

}  // namespace appmesh::transport

// WebSocket frames (RFC 6455 section 5) as bytes, for both ends. Pure functions, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace appmesh::wire {

enum class WebSocketOpcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };
using WebSocketMask = std::array<char, 4>;

inline constexpr std::size_t kMaxWebSocketHeadBytes = 14;
inline constexpr std::size_t kMaxWebSocketControlBytes = 125;

// Section 7.4.1 of the RFC.
inline constexpr std::uint16_t kWebSocketNormal = 1000;
inline constexpr std::uint16_t kWebSocketGoingAway = 1001;
inline constexpr std::uint16_t kWebSocketProtocolError = 1002;
inline constexpr std::uint16_t kWebSocketUnsupportedData = 1003;
inline constexpr std::uint16_t kWebSocketTooBig = 1009;
inline constexpr std::uint16_t kWebSocketTryAgainLater = 1013;

struct WebSocketHead {
  WebSocketOpcode opcode = WebSocketOpcode::binary;
  bool is_final = true;
  std::optional<WebSocketMask> mask;
  std::uint64_t payload_bytes = 0;
  std::size_t head_bytes = 0;

  [[nodiscard]] bool is_control() const { return static_cast<std::uint8_t>(opcode) >= 8; }
};

enum class WebSocketRead : std::uint8_t { whole, incomplete, malformed };
// The head at the front of `bytes`. Malformed: reserved bits, an unknown opcode, a control frame that is fragmented or
// too long, a length that is not in its shortest form or above 2^63.
[[nodiscard]] WebSocketRead read_websocket_head(std::string_view bytes, WebSocketHead& head);

// A final frame's head; with a mask (a client's) the payload must be masked with it.
void append_websocket_head(std::string& out, WebSocketOpcode opcode, std::uint64_t payload_bytes,
                           const std::optional<WebSocketMask>& mask = std::nullopt);

// Masks or unmasks in place. `position` is that of the first byte in its payload.
void apply_websocket_mask(std::span<char> bytes, const WebSocketMask& mask, std::uint64_t position);

}  // namespace appmesh::wire

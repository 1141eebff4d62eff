// A conversation over a WebSocket that a route holds: Response::socket. Made by a handler for a request that asks for
// one (Request::wants_socket); every call comes from the I/O thread of its connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "core/error.h"

namespace appmesh::api {

struct SocketMessage {
  bool is_text = false;
  std::string data;
};

// The sub-protocol that such a request names.
inline constexpr std::string_view kSocketProtocol = "appmesh-pty";
inline constexpr std::size_t kMaxSocketMessageBytes = 64UL * 1024;  // from the peer

enum class SocketEnd : std::uint8_t {
  by_peer,    // it has gone
  by_daemon,  // the conversation is over, or this daemon ends
  by_right,   // the caller may not have it any more
};

class SocketHandler {
 public:
  virtual ~SocketHandler() = default;

  // The next message for the peer; nothing: the conversation is over.
  [[nodiscard]] virtual boost::asio::awaitable<std::optional<SocketMessage>> next() = 0;

  // What the peer sent, at most kMaxSocketMessageBytes. Waits while there is no room for it: then nothing more is read
  // from the peer. An error ends the conversation, its message goes to the peer.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> take(SocketMessage message) = 0;

  // The last call. What waits in next() or take() ends soon.
  virtual void end(SocketEnd why) = 0;
};

}  // namespace appmesh::api

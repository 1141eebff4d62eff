// The client's end of a WebSocket (RFC 6455) of a daemon. It owns its connection and belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <appmesh/transport.h>

namespace appmesh {

class WebSocket {
 public:
  // Opens it: GET `request.path` with the sub-protocol. `url` is https://host[:port]; `cancel` ends a wait as
  // Transport::cancel_on() does, -1 = nothing. Throws ClientError; kStatus when the server refuses.
  WebSocket(std::string_view url, const TransportOptions& options, const Request& request, std::string_view protocol,
            int cancel = -1);
  ~WebSocket();
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  struct Message {
    enum class Kind { kText, kBinary, kClosed };
    Kind kind = Kind::kBinary;
    std::string data;              // of kClosed: the reason
    std::uint16_t close_code = 0;  // of kClosed
  };

  // A message that has come whole, or nothing; never waits for one. Answers pings. Throws ClientError(kClosed) when the
  // connection broke.
  std::optional<Message> receive();
  // To poll for POLLIN after receive() gave nothing.
  [[nodiscard]] int descriptor() const;

  // Wait until the connection has taken it.
  void send_text(std::string_view text);
  void send_binary(std::string_view bytes);
  void ping();

  static constexpr std::size_t kMaxMessageBytes = 1024 * 1024;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace appmesh

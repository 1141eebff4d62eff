// A connection of the TCP transport: msgpack messages in frames (section 1.3 of the wire contract). A frame that is
// whole in what was read is parsed where it lies; the buffer of a longer one grows with the bytes that came, never with
// those that were announced.
#pragma once

#include <string>
#include <string_view>

#include "transport/message_connection.h"

namespace appmesh::transport {

class TcpConnection final : public MessageConnection {
 public:
  TcpConnection(std::shared_ptr<MessageShared> shared, IoThread& thread, TlsStream stream, std::string peer)
      : MessageConnection(std::move(shared), thread, std::move(stream), std::move(peer), api::TransportKind::tcp) {}

 private:
  boost::asio::awaitable<void> serve() override;
  void append_frame_head(std::string& out, std::size_t message_bytes) const override;

  [[nodiscard]] bool consume(std::string_view fresh);  // false: the connection is closed
  [[nodiscard]] bool take_frames(std::string_view bytes, std::string* owner);
  void set_receive_deadline();

  std::string input_;       // the beginning of a frame
  std::size_t needed_ = 0;  // bytes of input_ that let us go on
  Deadline::Clock::time_point frame_started_{};
};

}  // namespace appmesh::transport

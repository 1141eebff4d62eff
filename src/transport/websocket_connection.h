// A connection of the WebSocket transport, from the end of its HTTP handshake: one binary message is one msgpack
// message. Pings a silent peer. Lives on one I/O thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <appmesh/wire/websocket.h>

#include "transport/message_connection.h"

namespace appmesh::transport {

class WebSocketConnection final : public MessageConnection {
 public:
  // `stream` has done its handshake, and the answer to the upgrade is sent. `early`: bytes that came behind the
  // request. `authorization`: that header of the request; it counts for messages without one of their own. Never a
  // cookie: browsers send those along for any page.
  WebSocketConnection(std::shared_ptr<MessageShared> shared, IoThread& thread, TlsStream stream, std::string peer,
                      std::string early, std::string authorization);

  void stop() override;

 private:
  boost::asio::awaitable<void> serve() override;
  void append_frame_head(std::string& out, std::size_t message_bytes) const override;
  void end_slow_peer() override;

  [[nodiscard]] bool consume(std::span<char> bytes);  // false: a close frame is sent
  [[nodiscard]] bool begin_frame();
  [[nodiscard]] bool end_frame(std::string_view whole);  // `whole`: the payload when it was not collected
  [[nodiscard]] bool take_control(std::string_view payload);
  [[nodiscard]] bool take_message(std::string_view whole);
  bool close_with(std::uint16_t code, std::string_view reason);  // false
  void heard();                                                  // something came: the peer is alive
  void set_receive_deadline();

  std::string early_;
  std::string head_bytes_;  // the beginning of a frame's head
  wire::WebSocketHead head_;
  std::uint64_t payload_done_ = 0;
  bool in_frame_ = false;    // the head is read, the payload is not
  bool in_message_ = false;  // a message was begun and its last frame is not read
  std::string message_;      // what came of it
  std::string control_;      // what came of a control frame
  bool ping_sent_ = false;
  Deadline silence_;
  Deadline::Clock::time_point message_started_{};
};

}  // namespace appmesh::transport

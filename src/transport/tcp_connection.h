// A connection of the TCP transport: msgpack messages in frames (docs/wire.md#frames). A frame that is
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
  bool take_upload(std::shared_ptr<api::BodySink> sink) override;
  bool send_file(std::shared_ptr<api::BodySource> source) override;
  static boost::asio::awaitable<void> send_frames(std::shared_ptr<TcpConnection> self,
                                                  std::shared_ptr<api::BodySource> source);
  boost::asio::awaitable<bool> store_upload();  // false: the connection is closed

  [[nodiscard]] bool consume(std::string_view fresh);  // false: the connection is closed
  [[nodiscard]] bool take_frames(std::string_view bytes, std::string* owner);
  void set_receive_deadline();

  std::string input_;       // the beginning of a frame
  std::size_t needed_ = 0;  // bytes of input_ that let us go on
  Deadline::Clock::time_point frame_started_{};

  // A file that the peer sends (docs/wire.md#tcp-files).
  std::shared_ptr<api::BodySink> upload_;
  std::uint64_t chunk_left_ = 0;  // of the frame that has begun
  std::string upload_bytes_;      // not yet stored
  bool upload_ended_ = false;     // its empty frame has come; what is behind it waits until the file is stored
};

}  // namespace appmesh::transport

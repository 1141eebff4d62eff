// What a connection has received, as frames: bytes go in as they come, whole messages come out. Used by the thread that
// reads the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace appmesh::detail {

class FrameBuffer {
 public:
  explicit FrameBuffer(std::uint64_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}

  // The first message when it is here as a whole; good until pop() or room(). Throws ClientError(kProtocol) when what
  // came is no frame, an empty one or too large.
  [[nodiscard]] std::optional<std::string_view> front() const;
  // Done with the first message, which front() has shown.
  void pop();

  // Where the next bytes go, and how many came. Room is never empty.
  [[nodiscard]] std::span<char> room();
  void filled(std::size_t count) { filled_ += count; }

 private:
  // Length of the first frame with its header; of the header alone, as long as that is not here.
  [[nodiscard]] std::size_t frame_bytes() const;

  std::uint64_t max_message_bytes_;
  std::string bytes_;
  std::size_t taken_ = 0;   // handed out
  std::size_t filled_ = 0;  // received: what is to come out lies between the two
};

}  // namespace appmesh::detail

#include "frame_buffer.h"

#include <algorithm>
#include <cstring>

#include <appmesh/error.h>
#include <appmesh/wire/frame.h>

namespace appmesh::detail {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kKeptBytes = 1024 * 1024;

}  // namespace

std::size_t FrameBuffer::frame_bytes() const {
  if (filled_ - taken_ < wire::kFrameHeaderBytes) return wire::kFrameHeaderBytes;
  const auto length = wire::read_frame_header(std::string_view(bytes_).substr(taken_));
  if (!length || *length == 0 || *length > max_message_bytes_) {
    throw ClientError(ErrorKind::kProtocol, "the server's frame is none, or too large");
  }
  return wire::kFrameHeaderBytes + *length;
}

std::optional<std::string_view> FrameBuffer::front() const {
  const std::size_t wanted = frame_bytes();
  if (wanted == wire::kFrameHeaderBytes || filled_ - taken_ < wanted) return std::nullopt;
  return std::string_view(bytes_).substr(taken_ + wire::kFrameHeaderBytes, wanted - wire::kFrameHeaderBytes);
}

void FrameBuffer::pop() {
  taken_ += frame_bytes();
  if (taken_ < filled_) return;
  taken_ = filled_ = 0;
  if (bytes_.size() > kKeptBytes) bytes_ = {};
}

std::span<char> FrameBuffer::room() {
  if (taken_ > 0) {
    std::memmove(bytes_.data(), bytes_.data() + taken_, filled_ - taken_);
    filled_ -= taken_;
    taken_ = 0;
  }
  // A large message is read into the memory that it will need, but not before most of it has come. What is there is
  // kept between messages: to fill it with zeros for each would cost more than to read them.
  const std::size_t wanted = frame_bytes();
  const std::size_t room = std::max(kReadBytes, std::min(wanted - std::min(wanted, filled_), filled_));
  if (bytes_.size() < filled_ + room) bytes_.resize(filled_ + room);
  return std::span(bytes_).subspan(filled_);
}

}  // namespace appmesh::detail

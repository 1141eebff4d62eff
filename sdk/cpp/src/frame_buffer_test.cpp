#include "frame_buffer.h"

#include <cstring>

#include <appmesh/error.h>
#include <appmesh/wire/frame.h>
#include <gtest/gtest.h>

namespace appmesh::detail {
namespace {

std::string frame(std::string_view content) {
  std::string out;
  wire::append_frame_header(out, static_cast<std::uint32_t>(content.size()));
  return out.append(content);
}

void feed(FrameBuffer& buffer, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto room = buffer.room();
    const std::size_t count = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), count);
    buffer.filled(count);
    bytes.remove_prefix(count);
  }
}

TEST(FrameBuffer, GivesMessagesOnceTheyAreWhole) {
  const std::string large(200'000, 'x');
  const std::string sent = frame("one") + frame("two") + frame(large) + frame("four");
  // However the bytes are cut: in the middle of headers, several messages at once, all at once.
  for (const std::size_t piece : {1UL, 7UL, 90'000UL, sent.size()}) {
    FrameBuffer buffer(300'000);
    std::vector<std::string> seen;
    for (std::size_t begin = 0; begin < sent.size(); begin += piece) {
      feed(buffer, std::string_view(sent).substr(begin, piece));
      while (const auto message = buffer.front()) {
        seen.emplace_back(*message);
        buffer.pop();
      }
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"one", "two", large, "four"})) << piece;
    EXPECT_FALSE(buffer.front());
  }
}

TEST(FrameBuffer, RefusesWhatIsNoMessage) {
  for (const std::string& bytes : {frame(""), frame(std::string(101, 'x')), std::string("GET / HTTP/1.1")}) {
    FrameBuffer buffer(100);
    feed(buffer, bytes);
    EXPECT_THROW((void)buffer.front(), ClientError) << bytes;
  }
}

}  // namespace
}  // namespace appmesh::detail

#include "transport/request_parser.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace appmesh::transport {
namespace {

// As a connection does it: what was not taken comes again with more behind it.
std::string body_fed_in_pieces_of(std::size_t size, std::string_view bytes) {
  RequestParser parser({});
  std::string input;
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    EXPECT_FALSE(parser.done());
    input.append(bytes.substr(at, size));
    const auto used = parser.feed(input);
    if (!used) return "refused: " + used.error().message;
    input.erase(0, *used);
  }
  return parser.done() ? parser.take().body : "not whole";
}

constexpr std::string_view kHead = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST(RequestParser, TakesAChunkedBodyThatComesInPiecesOfAnySize) {
  for (const std::string_view chunks :
       {"0\r\n\r\n", "0;x\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nTrailer: t\r\n\r\n"}) {
    for (std::size_t size = 1; size <= 12; ++size) {
      const std::string bytes = std::string(kHead) + std::string(chunks);
      EXPECT_EQ(body_fed_in_pieces_of(size, bytes), chunks.starts_with('3') ? "abc" : "") << chunks << " by " << size;
    }
  }
}

TEST(RequestParser, WaitsForTheRestOfALastChunkHoweverOftenItIsAsked) {
  RequestParser parser({});
  std::string input = std::string(kHead) + "0;\r\n";
  for (int i = 0; i < 3; ++i) {
    const auto used = parser.feed(input);
    ASSERT_TRUE(used);
    input.erase(0, *used);
    EXPECT_FALSE(parser.done());
  }
}

}  // namespace
}  // namespace appmesh::transport

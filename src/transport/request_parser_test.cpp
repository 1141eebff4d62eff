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

// How a request is refused, whole and in pieces; empty when it is taken.
std::string refusal(std::string_view bytes) {
  std::string whole;
  for (const std::size_t size : {bytes.size(), std::size_t{1}, std::size_t{7}}) {
    RequestParser parser({});
    std::string input;
    std::string refused;
    for (std::size_t at = 0; at < bytes.size() && refused.empty(); at += size) {
      input.append(bytes.substr(at, size));
      const auto used = parser.feed(input);
      if (used)
        input.erase(0, *used);
      else
        refused = std::to_string(used.error().status) + " " + used.error().message;
    }
    EXPECT_TRUE(!refused.empty() || parser.done()) << bytes;
    if (size == bytes.size()) whole = refused;
    EXPECT_EQ(refused, whole) << bytes << " by " << size;
  }
  return whole;
}

TEST(RequestParser, AValueOnMoreThanOneLineIsRefused) {
  for (const std::string_view value : {"a\r\n b", "a\r\n\tb", "\r\n b", "a\r\n \r\n b", "a\r\n ", "\r\n\tb: c"}) {
    const std::string request = "GET / HTTP/1.1\r\nHost: h\r\nX-Folded: " + std::string(value) + "\r\n\r\n";
    EXPECT_EQ(refusal(request), "400 header 'X-Folded': a value on more than one line") << request;
  }
  for (const std::string_view value : {"", " ", "\t a \t", "a b", "\xc3\xa4"})
    EXPECT_EQ(refusal("GET / HTTP/1.1\r\nHost: h\r\nX-Plain:" + std::string(value) + "\r\nB: c\r\n\r\n"), "");
}

TEST(RequestParser, TransferEncodingDoesNotExistInHttp10) {
  const std::string_view body = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\n" + std::string(body)), "400 Transfer-Encoding does not exist in HTTP/1.0");
  EXPECT_EQ(refusal("POST / HTTP/1.1\r\nHost: h\r\n" + std::string(body)), "");
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"), "");
}

}  // namespace
}  // namespace appmesh::transport

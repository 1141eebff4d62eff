#include <string>
#include <vector>

#include <appmesh/wire/websocket.h>
#include <gtest/gtest.h>

namespace appmesh::wire {
namespace {

using enum WebSocketRead;

TEST(WebSocketFrame, HeadsOfEveryLengthComeBack) {
  for (const std::uint64_t length : {0ULL, 1ULL, 125ULL, 126ULL, 65535ULL, 65536ULL, 1ULL << 40}) {
    for (const std::optional<WebSocketMask> mask : {std::optional<WebSocketMask>(), {{'a', 'b', 'c', 'd'}}}) {
      std::string out;
      append_websocket_head(out, WebSocketOpcode::binary, length, mask);
      const std::size_t size = out.size();
      for (std::size_t cut = 0; cut < size; ++cut) {
        WebSocketHead head;
        EXPECT_EQ(read_websocket_head(std::string_view(out).substr(0, cut), head), incomplete) << length << " " << cut;
      }
      out += "payload";
      WebSocketHead head;
      ASSERT_EQ(read_websocket_head(out, head), whole);
      EXPECT_EQ(head.head_bytes, size);
      EXPECT_EQ(head.payload_bytes, length);
      EXPECT_EQ(head.mask, mask);
      EXPECT_TRUE(head.is_final);
      EXPECT_EQ(head.opcode, WebSocketOpcode::binary);
    }
  }
}

TEST(WebSocketFrame, WhatTheRfcForbidsIsMalformed) {
  const std::vector<std::string> bad = {
      std::string("\xC2\x00", 2),                                   // a reserved bit
      std::string("\x83\x00", 2),                                   // an unknown opcode
      std::string("\x8B\x00", 2),                                   // an unknown control opcode
      std::string("\x09\x00", 2),                                   // a fragmented ping
      std::string("\x88\x7E\x00\x80", 4),                           // a close frame of 128 bytes
      std::string("\x82\x7E\x00\x7D", 4),                           // 125 in two bytes
      std::string("\x82\x7F\x00\x00\x00\x00\x00\x00\xFF\xFF", 10),  // 65535 in eight
      std::string("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00", 10),  // 2^63
  };
  for (const std::string& bytes : bad) {
    WebSocketHead head;
    EXPECT_EQ(read_websocket_head(bytes, head), malformed) << testing::PrintToString(bytes);
  }
}

TEST(WebSocketFrame, MasksTheSameInOnePieceAndInMany) {
  const WebSocketMask mask = {'\x11', '\x22', '\x33', '\x44'};
  std::string plain;
  for (int i = 0; i < 100; ++i) plain.push_back(static_cast<char>(i * 7));
  std::string expected = plain;
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<char>(expected[i] ^ mask[i % 4]);
  for (std::size_t cut = 0; cut <= plain.size(); ++cut) {
    std::string masked = plain;
    apply_websocket_mask(std::span(masked).first(cut), mask, 0);
    apply_websocket_mask(std::span(masked).subspan(cut), mask, cut);
    EXPECT_EQ(masked, expected) << cut;
  }
}

}  // namespace
}  // namespace appmesh::wire

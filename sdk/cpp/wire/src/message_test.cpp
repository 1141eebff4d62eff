#include <string>
#include <vector>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace appmesh::wire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

std::string map_of(std::uint32_t pairs, const std::string& rest) {
  std::string out;
  append_map_head(out, pairs);
  return out + rest;
}
std::string text(std::string_view value) {
  std::string out;
  append_text(out, value);
  return out;
}

TEST(Frame, HasAMagicNumberAndABigEndianLength) {
  std::string out;
  append_frame_header(out, 0x01020304);
  EXPECT_EQ(out, std::string("\x07\xC7\x07\xF8\x01\x02\x03\x04", 8));
  EXPECT_EQ(read_frame_header(out), 0x01020304U);
  out[0] = '\x08';
  EXPECT_EQ(read_frame_header(out), std::nullopt);
}

TEST(Msgpack, NumbersOfEveryFormAreReadAndWrittenInTheShortest) {
  const std::vector<std::pair<std::int64_t, std::size_t>> cases = {
      {0, 1},          {127, 1},        {128, 2},         {255, 2},         {256, 3},       {65535, 3},    {65536, 5},
      {4294967295, 5}, {4294967296, 9}, {-1, 1},          {-32, 1},         {-33, 2},       {-128, 2},     {-129, 3},
      {-32768, 3},     {-32769, 5},     {-2147483648, 5}, {-2147483649, 9}, {INT64_MAX, 9}, {INT64_MIN, 9}};
  for (const auto& [number, size] : cases) {
    std::string out;
    append_integer(out, number);
    EXPECT_EQ(out.size(), size) << number;
    MsgpackReader reader(out);
    std::int64_t back = 0;
    ASSERT_TRUE(reader.read_integer(back)) << number;
    EXPECT_EQ(back, number);
    EXPECT_TRUE(reader.at_end());
    for (std::size_t cut = 0; cut < out.size(); ++cut) {
      MsgpackReader short_one(std::string_view(out).substr(0, cut));
      EXPECT_FALSE(short_one.read_integer(back)) << number << " cut at " << cut;
    }
  }
  std::int64_t value = 0;
  EXPECT_FALSE(MsgpackReader("\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF").read_integer(value));
}

TEST(Msgpack, TextsOfEveryLengthClassComeBack) {
  for (const std::size_t size : {0UL, 1UL, 31UL, 32UL, 255UL, 256UL, 65535UL, 65536UL, 1'000'000UL}) {
    const std::string value(size, 'v');
    std::string out = text(value);
    append_binary_head(out, static_cast<std::uint32_t>(size));
    out += value;
    MsgpackReader reader(out);
    std::string_view back;
    ASSERT_TRUE(reader.read_bytes(back));
    EXPECT_EQ(back, value);
    ASSERT_TRUE(reader.read_bytes(back));
    EXPECT_EQ(back, value);
    EXPECT_TRUE(reader.at_end());
  }
}

TEST(Msgpack, SkipsEveryTypeAndStopsAtTheEndOfTheInput) {
  const std::string all =
      map_of(3, text("a") + std::string("\x93\xC0\xC3\xCB", 4) + std::string(8, '\1') + text("b") +
                    std::string("\xC7\x03\x05xyz", 6) + text("c") + std::string("\xD8", 1) + std::string(17, 'e'));
  MsgpackReader reader(all);
  EXPECT_TRUE(reader.skip());
  EXPECT_TRUE(reader.at_end());
  for (std::size_t cut = 0; cut < all.size(); ++cut) {
    MsgpackReader short_one(std::string_view(all).substr(0, cut));
    EXPECT_FALSE(short_one.skip()) << cut;
    EXPECT_EQ(short_one.position(), 0U);
  }
  EXPECT_FALSE(MsgpackReader("\xC1").skip());
}

TEST(Msgpack, AMillionOpenArraysAreSkippedWithoutAStack) {
  const std::string deep = std::string(1'000'000, '\x91') + "\xC0";
  MsgpackReader reader(deep);
  EXPECT_TRUE(reader.skip());
  MsgpackReader open(std::string_view(deep).substr(0, 1'000'000));
  EXPECT_FALSE(open.skip());
}

TEST(Msgpack, CountsThatTheInputCannotHoldAreRefused) {
  std::uint32_t count = 0;
  EXPECT_FALSE(MsgpackReader("\xDF\xFF\xFF\xFF\xFF").read_map(count));
  EXPECT_FALSE(MsgpackReader("\xDD\xFF\xFF\xFF\xFF").read_array(count));
  std::string_view bytes;
  EXPECT_FALSE(MsgpackReader("\xC6\xFF\xFF\xFF\xFF").read_bytes(bytes));
  // Arrays in arrays that each claim all that is left.
  std::string bomb;
  for (int i = 0; i < 1000; ++i) bomb += "\xDC\x7F\xFF";
  EXPECT_FALSE(MsgpackReader(bomb).skip());
}

TEST(Message, ARequestComesBackAsItWasWritten) {
  Request request;
  request.uuid = "id-1";
  request.request_uri = "/appmesh/app/x/output";
  request.http_method = "GET";
  request.client_addr = "host";
  const std::vector<TextPair> headers = {{"Authorization", "Bearer t"}};
  const std::vector<std::pair<std::string, std::string>> query = {{"timeout", "5"}, {"stdout_position", "0"}};
  std::string out;
  append_request_head(out, request, headers, query, 3);
  out += std::string("b\0y", 3);
  Request back;
  ASSERT_EQ(parse_request(out, back), "");
  EXPECT_EQ(back.uuid, "id-1");
  EXPECT_EQ(back.request_uri, "/appmesh/app/x/output");
  EXPECT_EQ(back.http_method, "GET");
  EXPECT_EQ(back.client_addr, "host");
  EXPECT_EQ(back.body, std::string_view("b\0y", 3));
  EXPECT_THAT(back.headers, ElementsAre(Pair("Authorization", "Bearer t")));
  EXPECT_THAT(back.query, ElementsAre(Pair("timeout", "5"), Pair("stdout_position", "0")));
  for (std::size_t cut = 0; cut < out.size(); ++cut) {
    EXPECT_NE(parse_request(std::string_view(out).substr(0, cut), back), "") << cut;
  }
}

TEST(Message, AResponseComesBackAsItWasWritten) {
  Response response;
  response.uuid = "id";
  response.request_uri = "/appmesh/event";
  response.http_status = 412;
  response.body_msg_type = "application/json";
  std::string out;
  append_response_head(out, response, std::vector<TextPair>{{"X-Exit-Code", "-9"}}, 2);
  EXPECT_THAT(out, HasSubstr(std::string("\xA4"
                                         "body\xC4\x02")));  // bin, also when the content is text
  out += "{}";
  Response back;
  ASSERT_EQ(parse_response(out, back), "");
  EXPECT_EQ(back.uuid, "id");
  EXPECT_EQ(back.request_uri, "/appmesh/event");
  EXPECT_EQ(back.http_status, 412);
  EXPECT_EQ(back.body_msg_type, "application/json");
  EXPECT_EQ(back.body, "{}");
  EXPECT_THAT(back.headers, ElementsAre(Pair("X-Exit-Code", "-9")));
}

TEST(Message, InputIsTakenLeniently) {
  Request request;
  EXPECT_EQ(parse_request(map_of(0, ""), request), "");
  const std::string query = map_of(
      4, text("n") + "\x05" + text("yes") + "\xC3" + text("nil") + "\xC0" + text("bin") + std::string("\xC4\x01z"));
  const std::string message =
      map_of(6, text("body") + text("as text") + text("later") + "\x92\xC0\x01" + text("headers") + "\xC0" +
                    text("querys") + query + text("uuid") + "\xC0" + text("request_uri") + text("/x"));
  EXPECT_EQ(parse_request(message, request), "");
  EXPECT_EQ(request.body, "as text");
  EXPECT_EQ(request.uuid, "");
  EXPECT_EQ(request.request_uri, "/x");
  EXPECT_TRUE(request.headers.empty());
  EXPECT_THAT(request.query, ElementsAre(Pair("n", "5"), Pair("yes", "true"), Pair("bin", "z")));
}

TEST(Message, WhatIsNoMessageIsNamed) {
  Request request;
  EXPECT_THAT(parse_request("", request), HasSubstr("not a msgpack map"));
  EXPECT_THAT(parse_request("\x01", request), HasSubstr("not a msgpack map"));
  EXPECT_THAT(parse_request("GET / HTTP/1.1\r\n", request), HasSubstr("not a msgpack map"));
  EXPECT_THAT(parse_request(map_of(1, "\x01\x01"), request), HasSubstr("text keys"));
  EXPECT_THAT(parse_request(map_of(1, text("headers") + "\x91\x01"), request), HasSubstr("wrong type"));
  EXPECT_THAT(parse_request(map_of(1, text("uuid") + map_of(0, "")), request), HasSubstr("wrong type"));
  EXPECT_THAT(parse_request(map_of(1, text("body") + "\xC6\x7F\xFF\xFF\xFF" + "short"), request),
              HasSubstr("malformed"));
  EXPECT_THAT(parse_request(map_of(0, "x"), request), HasSubstr("bytes follow"));
}

TEST(Message, WhatAMessageMakesUsHoldIsBounded) {
  Request request;
  std::string many;
  for (int i = 0; i < 300; ++i) many += text("k") + text("v");
  EXPECT_THAT(parse_request(map_of(1, text("headers") + map_of(300, many)), request), HasSubstr("too many"));
  const std::string long_header = map_of(1, text("a") + text(std::string(70'000, 'x')));
  EXPECT_THAT(parse_request(map_of(1, text("headers") + long_header), request), HasSubstr("too long"));
  // The same key again and again: each number would be made a text.
  std::string again;
  for (int i = 0; i < 100'000; ++i) again += text("uuid") + "\x01";
  EXPECT_THAT(parse_request(map_of(100'000, again), request), HasSubstr("too long"));
}

}  // namespace
}  // namespace appmesh::wire

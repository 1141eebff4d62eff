#include "http_parser.h"

#include <string>

#include <appmesh/error.h>
#include <gtest/gtest.h>

namespace appmesh::http {
namespace {

Response parse_bytewise(const std::string& text, Limits limits = {}) {
  ResponseParser parser(limits);
  for (const char c : text) parser.feed({&c, 1});
  EXPECT_TRUE(parser.done());
  return parser.take();
}

std::string failure(const std::string& text, Limits limits = {}) {
  ResponseParser parser(limits);
  try {
    parser.feed(text);
    parser.finish();
  } catch (const ClientError& error) {
    return error.what();
  }
  return "none";
}

TEST(HttpParser, ReadsAnAnswerWithContentLengthThatArrivesByteByByte) {
  const Response response = parse_bytewise("HTTP/1.1 200 OK\r\nX-Exit-Code: -9\r\nContent-Length: 5\r\n\r\nhello");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("x-exit-code"), "-9");
  EXPECT_EQ(response.body, "hello");
}

TEST(HttpParser, JoinsChunksAndIgnoresExtensionsAndTrailers) {
  const Response response = parse_bytewise(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n");
  EXPECT_EQ(response.body, "hello world");
}

TEST(HttpParser, LeavesTheBytesOfTheNextAnswerAlone) {
  ResponseParser parser;
  const std::string first = "HTTP/1.1 204 No Content\r\n\r\n";
  EXPECT_EQ(parser.feed(first + "HTTP/1.1 200"), first.size());
  EXPECT_TRUE(parser.done());
  EXPECT_TRUE(parser.keep_alive());
}

TEST(HttpParser, SkipsInterimAnswersButNotEndlessOnes) {
  EXPECT_EQ(parse_bytewise("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").status, 200);
  std::string flood;
  for (int i = 0; i < 50; ++i) flood += "HTTP/1.1 103 Hints\r\n\r\n";
  EXPECT_NE(failure(flood).find("interim"), std::string::npos);
}

TEST(HttpParser, AnswerWithoutLengthEndsWithTheConnection) {
  ResponseParser parser;
  parser.feed("HTTP/1.1 200 OK\r\n\r\nall of it");
  EXPECT_FALSE(parser.done());
  parser.finish();
  EXPECT_TRUE(parser.done());
  EXPECT_FALSE(parser.keep_alive());
  EXPECT_EQ(parser.take().body, "all of it");
}

TEST(HttpParser, RefusesAHeaderOverTheLimitAsOneLineOrAsMany) {
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'a')).find("header over"), std::string::npos);
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 10'000; ++i) many += "X-Header: 1\r\n";
  EXPECT_NE(failure(many).find("header over"), std::string::npos);
}

TEST(HttpParser, RefusesBadChunks) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_NE(failure(head + "xyz\r\n").find("chunk size"), std::string::npos);
  EXPECT_NE(failure(head + "-5\r\n").find("chunk size"), std::string::npos);
  EXPECT_NE(failure(head + "\r\n").find("chunk size"), std::string::npos);
  EXPECT_NE(failure(head + "fffffffffffffffff\r\n").find("chunk size"), std::string::npos);
  EXPECT_NE(failure(head + "ffffffffffffffff\r\n").find("body over"), std::string::npos);
  EXPECT_NE(failure(head + "3\r\nhello\r\n").find("longer than its size"), std::string::npos);
  EXPECT_NE(failure(head + "5;" + std::string(5'000, 'x')).find("chunk line"), std::string::npos);
}

TEST(HttpParser, RefusesABodyOverTheLimitBeforeReadingIt) {
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", {.body_bytes = 10}).find("body over"),
            std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\n\r\n" + std::string(11, 'a'), {.body_bytes = 10}).find("body over"),
            std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n", {.body_bytes = 10})
                .find("body over"),
            std::string::npos);
}

TEST(HttpParser, ATruncatedAnswerIsNeverTakenForACompleteOne) {
  for (const std::string text : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Le",
                                 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
    EXPECT_NE(failure(text).find("middle of"), std::string::npos) << text;
  }
  EXPECT_NE(failure("").find("without an answer"), std::string::npos);
}

TEST(HttpParser, RefusesWhatCouldSmuggleAnAnswer) {
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n").find("together"),
            std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n").find("Content-Length"),
            std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n").find("Content-Length"), std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n").find("header"), std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n").find("header"), std::string::npos);
  EXPECT_NE(failure("SSH-2.0-OpenSSH_9.2\r\n").find("HTTP/1.x"), std::string::npos);
  EXPECT_NE(failure("HTTP/1.1 20 OK\r\n").find("status code"), std::string::npos);
}

}  // namespace
}  // namespace appmesh::http

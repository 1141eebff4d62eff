// TCP and WebSocket connections on real TLS: answers, pushes, and every limit with a small value. No test measures a
// time.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/message_test_support.h"

namespace appmesh::transport {
namespace {

using namespace test;  // NOLINT: the tests of this room read better so
using std::chrono::milliseconds;
using wire::WebSocketOpcode;

api::PushMessage event(std::string text) {
  return {.request_uri = "/appmesh/event",
          .content_type = "application/json",
          .headers = {{"X-Event-Type", "STDOUT"}},
          .body_start = {},
          .body = std::make_shared<const std::string>(std::move(text))};
}

template <typename Client>
class Messages : public testing::Test {};
using Kinds = testing::Types<TcpTestClient, WebSocketTestClient>;
TYPED_TEST_SUITE(Messages, Kinds);

Listener& listener_of(MessageServer& server, const TcpTestClient&) {
  return server.tcp();
}
Listener& listener_of(MessageServer& server, const WebSocketTestClient&) {
  return server.web();
}

bool wait_for_connections(const Listener& listener, std::size_t count) {
  for (int i = 0; i < 3000; ++i) {
    if (listener.connections() == count) return true;
    ::poll(nullptr, 0, 10);
  }
  return false;
}

TYPED_TEST(Messages, AreAnswered) {
  MessageServer server;
  TypeParam client(server);
  for (int i = 0; i < 3; ++i) {
    const MessageReply reply = client.ask("/hello");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "hello");
    EXPECT_EQ(reply.uuid, "u");
    EXPECT_EQ(reply.path, "/hello");
  }
  EXPECT_EQ(client.ask("/nowhere").status, 404);
  EXPECT_EQ(client.ask("no slash").status, 400);
}

TEST(TcpConnections, OfAFewPeersShareAThread) {
  MessageServer server;
  TcpTestClient first(server);
  TcpTestClient second(server);
  TcpTestClient third(server);
  const std::string thread = first.ask("/thread").body;
  EXPECT_NE(thread, "");
  EXPECT_EQ(second.ask("/thread").body, thread);
  EXPECT_EQ(third.ask("/thread").body, thread);
}

TYPED_TEST(Messages, CarryLargeBodiesBothWays) {
  MessageServer server;
  TypeParam client(server);
  for (const std::size_t size : {0UL, 1UL, 16'000UL, 16'384UL, 65'535UL, 65'536UL, 5'000'000UL}) {
    std::string body(size, 'x');
    for (std::size_t i = 0; i < size; i += 97) body[i] = static_cast<char>(i);
    const MessageReply reply = client.ask("/echo", "POST", body);
    EXPECT_EQ(reply.status, 200) << size;
    EXPECT_TRUE(reply.body == body) << size;
  }
  EXPECT_EQ(client.ask("/big").body.size(), 1'000'000U);
}

TYPED_TEST(Messages, PushedFromManyThreadsComeInTheOrderOfEach) {
  MessageServer server;
  TypeParam client(server);
  ASSERT_EQ(client.ask("/subscribe").status, 200);
  constexpr int kEach = 500;
  std::vector<std::thread> pushers;
  for (int who = 0; who < 4; ++who) {
    pushers.emplace_back([&, who] {
      for (int i = 0; i < kEach; ++i) {
        EXPECT_TRUE(server.subscribers().last()->push(event(std::to_string(who) + ":" + std::to_string(i))));
      }
    });
  }
  for (auto& pusher : pushers) pusher.join();
  std::vector<int> next(4, 0);
  for (int i = 0; i < 4 * kEach; ++i) {
    MessageReply reply;
    if constexpr (std::is_same_v<TypeParam, TcpTestClient>) {
      reply = client.receive_message();
    } else {
      reply = parse_reply(client.receive_frame().payload);
    }
    ASSERT_EQ(reply.path, "/appmesh/event");
    EXPECT_EQ(reply.uuid.size(), 36U);
    const auto who = static_cast<std::size_t>(reply.body[0] - '0');
    EXPECT_EQ(reply.body, std::to_string(who) + ":" + std::to_string(next[who]++));
  }
  EXPECT_EQ(client.ask("/hello").body, "hello");
}

TYPED_TEST(Messages, NoEventOvertakesTheAnswerThatNamesItsSubscription) {
  MessageServer server;
  TypeParam client(server);
  EXPECT_EQ(client.ask("/subscribe/early").body, "subscribed");
  MessageReply next;
  if constexpr (std::is_same_v<TypeParam, TcpTestClient>) {
    next = client.receive_message();
  } else {
    next = parse_reply(client.receive_frame().payload);
  }
  EXPECT_EQ(next.body, "early");
}

TYPED_TEST(Messages, TheEndOfAConnectionIsToldOnce) {
  MessageServer server;
  std::shared_ptr<api::Connection> kept;
  {
    TypeParam client(server);
    ASSERT_EQ(client.ask("/subscribe").status, 200);
    kept = server.subscribers().last();
  }
  EXPECT_TRUE(server.subscribers().wait_for_end());
  EXPECT_FALSE(kept->push(event("too late")));
  bool told = false;
  kept->on_end([&told] { told = true; });
  EXPECT_TRUE(told);
}

TYPED_TEST(Messages, ASubscriberThatDoesNotReadIsCutOffAndBlocksNobody) {
  MessageServer server(
      {.outbound = {.messages = 100, .bytes = 4UL * 1024 * 1024}, .linger_timeout = milliseconds(100)});
  TypeParam slow(server);
  ASSERT_EQ(slow.ask("/subscribe").status, 200);
  const auto connection = server.subscribers().last();
  // What the sockets hold between them is not known, so push until it is full.
  int pushed = 0;
  while (connection->push(event(std::string(100'000, 'e')))) {
    ASSERT_LT(++pushed, 10'000);
    ::poll(nullptr, 0, 1);
  }
  TypeParam other(server);
  EXPECT_EQ(other.ask("/hello").body, "hello");
  EXPECT_TRUE(server.subscribers().wait_for_end());
}

TYPED_TEST(Messages, APeerThatReadsNothingOfALargeAnswerIsCutOff) {
  MessageServer server({.write_timeout = milliseconds(200)});
  TypeParam client(server);
  for (int i = 0; i < 30; ++i) {
    const std::string message = request_message("u", "/big");
    if constexpr (std::is_same_v<TypeParam, TcpTestClient>) {
      if (!client.send_message(message)) break;
    } else {
      if (!client.send_frame(WebSocketOpcode::binary, message)) break;
    }
  }
  EXPECT_TRUE(wait_for_connections(listener_of(server, client), 0));
}

TYPED_TEST(Messages, AMessageThatStopsHalfWayIsGivenUp) {
  MessageServer server({.message_timeout = milliseconds(200)});
  TypeParam client(server);
  ASSERT_EQ(client.ask("/hello").status, 200);
  client.send(std::is_same_v<TypeParam, TcpTestClient> ? std::string_view("\x07\xC7\x07\xF8\0\0\1\0half", 12)
                                                       : std::string_view("\x82\xFE\1\0maskhalf", 12));
  EXPECT_TRUE(wait_for_connections(listener_of(server, client), 0));
}

TYPED_TEST(Messages, AHandshakeThatStopsIsGivenUp) {
  MessageServer server({.handshake_timeout = milliseconds(200)});
  const auto silent = connect_to(server.tcp().port());
  EXPECT_TRUE(is_cut_off(silent.get()));
}

TYPED_TEST(Messages, MessagesOfAllConnectionsTogetherAreBounded) {
  MessageServer server({.buffered_bytes = 100'000});
  TypeParam client(server);
  EXPECT_EQ(client.ask("/echo", "POST", std::string(50'000, 'x')).status, 200);
  client.ask("/echo", "POST", std::string(200'000, 'x'));
  TypeParam other(server);
  EXPECT_EQ(other.ask("/hello").status, 200);
  EXPECT_TRUE(wait_for_connections(listener_of(server, client), 1));
}

TYPED_TEST(Messages, StopEndsIdleConnections) {
  MessageServer server;
  TypeParam client(server);
  EXPECT_EQ(client.ask("/hello").status, 200);
  listener_of(server, client).stop();
  EXPECT_TRUE(wait_for_connections(listener_of(server, client), 0));
}

TEST(TcpLimits, AFrameOverTheLimitClosesAndOneAtItDoesNot) {
  MessageServer server({.message_bytes = 1000});
  TcpTestClient client(server);
  const std::size_t rest = 1000 - request_message("u", "/echo", "POST", std::string(300, 'x')).size();
  EXPECT_EQ(client.ask("/echo", "POST", std::string(300 + rest, 'x')).status, 200);
  EXPECT_EQ(client.ask("/echo", "POST", std::string(301 + rest, 'x')).status, 0);
}

TEST(WebSocketLimits, AMessageOverTheLimitIs1009) {
  MessageServer server({.message_bytes = 1000});
  WebSocketTestClient client(server);
  client.send_frame(WebSocketOpcode::binary, std::string(1001, 'x'));
  EXPECT_EQ(client.receive_frame().close_code(), 1009);
  EXPECT_TRUE(client.is_closed());
}

TEST(WebSocketLimits, ASilentPeerIsPingedAndCutOffWithoutAPong) {
  MessageServer server({.silence_timeout = milliseconds(50), .pong_timeout = milliseconds(50)});
  WebSocketTestClient client(server);
  for (int i = 0; i < 3; ++i) {
    const auto frame = client.receive_frame();
    ASSERT_TRUE(frame.came);
    EXPECT_EQ(frame.head.opcode, WebSocketOpcode::ping);
    client.send_frame(WebSocketOpcode::pong, frame.payload);
  }
  while (client.receive_frame().came) continue;
  EXPECT_TRUE(wait_for_connections(server.web(), 0));
}

TEST(WebSocketLimits, ASlowSubscriberThatGoesOnReadingIsTold1013) {
  MessageServer server(
      {.outbound = {.messages = 100, .bytes = 4UL * 1024 * 1024}, .linger_timeout = milliseconds(5'000)});
  WebSocketTestClient slow(server);
  ASSERT_EQ(slow.ask("/subscribe").status, 200);
  const auto connection = server.subscribers().last();
  while (connection->push(event(std::string(100'000, 'e')))) ::poll(nullptr, 0, 1);
  int code = 0;
  for (auto frame = slow.receive_frame(); frame.came && code == 0; frame = slow.receive_frame())
    code = frame.close_code();
  EXPECT_EQ(code, 1013);
}

TEST(WebSocket, AnswersTheHandshakeOfTheRfc) {
  MessageServer server;
  WebSocketTestClient client(server);
  EXPECT_EQ(client.upgrade().status, 101);
  EXPECT_THAT(client.upgrade().head, testing::HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  EXPECT_THAT(client.upgrade().head, testing::HasSubstr("Sec-WebSocket-Protocol: appmesh-ws\r\n"));
}

TEST(WebSocket, TakesFramesThatCameWithTheHandshake) {
  MessageServer server;
  Client client(server.web().port());
  client.send(std::string("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n") +
              std::string("\x89\x82mask\x05\x08", 8));
  EXPECT_EQ(client.receive().status, 101);
  EXPECT_EQ(client.read_exactly(4), std::string("\x8A\x02hi", 4));
}

}  // namespace
}  // namespace appmesh::transport

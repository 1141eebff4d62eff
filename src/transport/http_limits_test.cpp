// Peers that are slow, wrong or many: each costs only itself. Time limits are short here and no test measures a time.
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "transport/http_server.h"
#include "transport/test_support.h"

namespace appmesh::transport {
namespace {

using namespace test;  // NOLINT: the tests of this room read better so
using std::chrono::milliseconds;

HttpServerOptions with(HttpLimits limits) {
  HttpServerOptions options;
  options.limits = limits;
  return options;
}

TEST(HttpLimits, AHeaderOverTheLimitIs431) {
  TestServer server;
  Client client(server.port());
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n");
  const Reply reply = client.receive();
  EXPECT_EQ(reply.status, 431);
  EXPECT_EQ(reply.body, R"({"message":"the header is longer than 65536 bytes"})");
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpLimits, AHeaderThatNeverEndsIs431Too) {
  TestServer server;
  Client client(server.port());
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\nX: " + std::string(200'000, 'x'));
  EXPECT_EQ(client.receive().status, 431);
}

TEST(HttpLimits, TooManyHeadersAre431) {
  TestServer server;
  Client client(server.port());
  std::string request = "GET /hello HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 300; ++i) request += "a: b\r\n";
  client.send(request + "\r\n");
  EXPECT_EQ(client.receive().status, 431);
}

TEST(HttpLimits, ABodyOverTheLimitIs413WhetherAnnouncedOrNot) {
  TestServer server(with({.parser = {.body_bytes = 1000}}));
  Client announced(server.port());
  announced.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(announced.receive().status, 413);
  EXPECT_TRUE(announced.is_closed());
  Client chunked(server.port());
  chunked.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) chunked.send("64\r\n" + std::string(100, 'x') + "\r\n");
  EXPECT_EQ(chunked.receive().status, 413);
  Client inside(server.port());
  inside.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x'));
  EXPECT_EQ(inside.receive().status, 200);
}

TEST(HttpLimits, TheRefusalReachesAClientThatGoesOnSending) {
  TestServer server(with({.parser = {.body_bytes = 1000}}));
  Client client(server.port());
  client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000\r\n\r\n" + std::string(4'000'000, 'x'));
  EXPECT_EQ(client.receive().status, 413);
}

TEST(HttpLimits, BodiesOfAllConnectionsTogetherAreBounded) {
  TestServer server(with({.buffered_body_bytes = 100'000}));
  Client holder(server.port());
  holder.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 90001\r\n\r\n" + std::string(90'000, 'x'));
  Client other(server.port());
  // The holder's bytes may still be on their way, so ask until they are counted.
  int status = 0;
  for (int i = 0; i < 1000 && status != 503; ++i) {
    Client next(server.port());
    next.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'x'));
    status = next.receive().status;
  }
  EXPECT_EQ(status, 503);
  EXPECT_EQ(other.get("/hello").status, 200);
  holder.send("x");
  EXPECT_EQ(holder.receive().body.size(), 90'001U);
}

TEST(HttpLimits, BadRequestsAre400WithTheReason) {
  TestServer server;
  for (const char* bad :
       {"NONSENSE\r\n\r\n", "GET /hello HTTP/9.9\r\nHost: h\r\n\r\n", "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", "GET hello HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /hello?x=%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    Client client(server.port());
    client.send(bad);
    const Reply reply = client.receive();
    EXPECT_EQ(reply.status, 400) << bad;
    EXPECT_TRUE(reply.body.starts_with("{\"message\":\"")) << bad << reply.body;
    EXPECT_TRUE(client.is_closed()) << bad;
  }
  Client client(server.port());
  EXPECT_EQ(client.get("/name/%zz").status, 400);
  EXPECT_EQ(client.get("/hello").status, 200);
}

TEST(HttpLimits, ASlowHeaderIsCutOffHoweverSteadilyItComes) {
  TestServer server(with({.header_timeout = milliseconds(200)}));
  Client client(server.port());
  client.send("GET /hello HTTP/1.1\r\nHost: h\r\nX: ");
  bool cut_off = false;
  for (int i = 0; i < 3000 && !cut_off; ++i) {
    cut_off = !client.send("x") || server.server().connections() == 0;
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(cut_off);
  EXPECT_TRUE(server.wait_for_connections(0));
}

TEST(HttpLimits, ABodyThatStopsOrTricklesIsCutOff) {
  TestServer server(with({.body_timeout = milliseconds(200), .min_body_bytes_per_second = 1'000'000}));
  Client stopped(server.port());
  stopped.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc");
  EXPECT_TRUE(stopped.is_closed());
  Client trickling(server.port());
  trickling.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
  bool cut_off = false;
  for (int i = 0; i < 3000 && !cut_off; ++i) {
    cut_off = !trickling.send("x") || server.server().connections() == 0;
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_TRUE(cut_off);
  EXPECT_TRUE(server.wait_for_connections(0));
}

TEST(HttpLimits, AnIdleConnectionIsClosedAndOneThatWaitsForItsAnswerIsNot) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  api::RouteTable table = plain_routes();
  table.add({.method = api::Method::get,
             .pattern = "/wait",
             .requirement = api::Requirement::free(),
             .handler = [released](api::Context&) -> boost::asio::awaitable<api::Response> {
               while (released.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
                 const auto executor = co_await boost::asio::this_coro::executor;
                 co_await boost::asio::post(executor, boost::asio::use_awaitable);
               }
               co_return api::text_response("waited");
             },
             .summary = "test"});
  TestServer server(with({.idle_timeout = milliseconds(200)}), std::move(table));
  Client waiting(server.port());
  waiting.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  Client idle(server.port());
  EXPECT_EQ(idle.get("/hello").status, 200);
  EXPECT_TRUE(idle.is_closed());
  release.set_value();
  EXPECT_EQ(waiting.receive().body, "waited");
  EXPECT_TRUE(waiting.is_closed());
}

TEST(HttpLimits, AClientThatDoesNotReadIsCutOff) {
  TestServer server(with({.write_timeout = milliseconds(300)}));
  Client client(server.port());
  std::string requests;
  for (int i = 0; i < 50; ++i) requests += "GET /big HTTP/1.1\r\nHost: h\r\n\r\n";
  ASSERT_TRUE(client.send(requests));
  EXPECT_TRUE(server.wait_for_connections(0));
}

TEST(HttpLimits, ConnectionsOverTheLimitWaitUntilOneCloses) {
  HttpServerOptions options;
  options.listen.connections = 2;
  TestServer server(options);
  auto first = std::make_unique<Client>(server.port());
  Client second(server.port());
  platform::UniqueFd third = connect_to(server.port());  // by the kernel; the server does not take it yet
  ASSERT_TRUE(third);
  EXPECT_EQ(second.get("/hello").status, 200);
  EXPECT_EQ(server.server().connections(), 2U);
  first.reset();
  third.reset();
  EXPECT_EQ(Client(server.port()).get("/hello").status, 200);
}

TEST(HttpLimits, HalfOpenHandshakesLeaveNoDescriptorAndDisturbNobody) {
  TestServer server(with({.handshake_timeout = milliseconds(500)}));
  Client other(server.port());
  EXPECT_EQ(other.get("/hello").status, 200);
  const std::size_t before = open_descriptors();
  {
    std::vector<platform::UniqueFd> half_open;
    constexpr std::string_view kBeginOfHello("\x16\x03\x01\x02\x00\x01\x00\x01", 8);
    for (int i = 0; i < 200; ++i) {
      half_open.push_back(connect_to(server.port()));
      ASSERT_TRUE(half_open.back());
      if (i % 2 == 0) ::send(half_open.back().get(), kBeginOfHello.data(), kBeginOfHello.size(), MSG_NOSIGNAL);
    }
    EXPECT_EQ(other.get("/hello").status, 200);
    for (const auto& fd : half_open) ASSERT_TRUE(is_cut_off(fd.get()));
  }
  EXPECT_TRUE(server.wait_for_connections(1));
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(other.get("/hello").status, 200);
}

TEST(HttpLimits, BytesThatAreNoTlsEndTheConnection) {
  TestServer server;
  for (const std::string_view bad :
       {std::string_view("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), std::string_view("\0\0\0\0\0\0", 6)}) {
    const platform::UniqueFd fd = connect_to(server.port());
    ::send(fd.get(), bad.data(), bad.size(), MSG_NOSIGNAL);
    char answer[64];
    ssize_t count = 0;
    while ((count = ::recv(fd.get(), answer, sizeof answer, 0)) > 0) continue;  // a TLS alert, perhaps
    EXPECT_TRUE(count == 0 || errno == ECONNRESET);
  }
  EXPECT_TRUE(server.wait_for_connections(0));
  EXPECT_EQ(Client(server.port()).get("/hello").status, 200);
}

TEST(HttpLimits, AClientThatVanishesInTheMiddleLeavesNothing) {
  TestServer server;
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 20; ++i) {
    Client client(server.port());
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc");
  }
  EXPECT_TRUE(server.wait_for_connections(0));
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace appmesh::transport

#include "transport/http_server.h"

#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "transport/test_support.h"

namespace appmesh::transport {
namespace {

using namespace test;  // NOLINT: the tests of this room read better so

TEST(HttpServer, AnswersManyRequestsOnOneConnection) {
  TestServer server;
  Client client(server.port());
  ASSERT_TRUE(client.connected());
  for (int i = 0; i < 50; ++i) {
    const Reply reply = client.get("/hello");
    ASSERT_EQ(reply.status, 200);
    ASSERT_EQ(reply.body, "hello");
  }
  EXPECT_EQ(server.server().connections(), 1U);
}

TEST(HttpServer, WritesTheHeadersThatClientsRelyOn) {
  TestServer server;
  Client client(server.port());
  const std::string head = client.get("/hello").head;
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\n")) << head;
  EXPECT_NE(head.find("\r\nContent-Type: text/plain; charset=utf-8\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("\r\nX-Content-Type-Options: nosniff\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("\r\nDate: "), std::string::npos) << head;
  EXPECT_EQ(head.find("Connection:"), std::string::npos) << head;
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  TestServer server;
  Client client(server.port());
  std::string requests;
  for (int i = 0; i < 500; ++i) {
    requests += "GET /name/" + std::to_string(i) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  }
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 500; ++i) ASSERT_EQ(client.receive().body, std::to_string(i));
}

TEST(HttpServer, TakesARequestThatComesByteByByte) {
  TestServer server;
  Client client(server.port());
  for (const char c : std::string_view("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")) {
    ASSERT_TRUE(client.send({&c, 1}));
  }
  EXPECT_EQ(client.receive().body, "abc");
}

TEST(HttpServer, TakesABodyInChunks) {
  TestServer server;
  Client client(server.port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n"));
  ASSERT_TRUE(client.send("6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"));
  EXPECT_EQ(client.receive().body, "hello world");
  EXPECT_EQ(client.get("/hello").status, 200);
}

TEST(HttpServer, TakesAndSendsLargeBodies) {
  TestServer server;
  Client client(server.port());
  const std::string body(5'000'000, 'z');
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n"));
  // The server reads everything before it answers, so nobody waits for the other.
  ASSERT_TRUE(client.send(body));
  EXPECT_TRUE(client.receive().body == body);
  EXPECT_EQ(client.get("/big").body.size(), 1'000'000U);
}

TEST(HttpServer, InvitesTheBodyOfAClientThatAsksFirst) {
  TestServer server;
  Client client(server.port());
  ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(client.receive().status, 100);
  ASSERT_TRUE(client.send("ok"));
  EXPECT_EQ(client.receive().body, "ok");
}

TEST(HttpServer, EndsTheConnectionWhenAskedTo) {
  TestServer server;
  Client client(server.port());
  ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
  const Reply reply = client.receive();
  EXPECT_EQ(reply.body, "hello");
  EXPECT_NE(reply.head.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(client.is_closed());
}

TEST(HttpServer, KeepsAnHttp10ConnectionOnlyOnRequest) {
  TestServer server;
  Client keeping(server.port());
  ASSERT_TRUE(keeping.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_NE(keeping.receive().head.find("Connection: keep-alive\r\n"), std::string::npos);
  EXPECT_EQ(keeping.get("/hello").status, 200);
  Client closing(server.port());
  ASSERT_TRUE(closing.send("GET /hello HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(closing.receive().body, "hello");
  EXPECT_TRUE(closing.is_closed());
}

TEST(HttpServer, AnswersHeadAndOptionsAndRefusesOtherMethods) {
  TestServer server;
  Client client(server.port());
  const auto call = [&](const char* method) {
    client.send(std::string(method) + " /hello HTTP/1.1\r\nHost: h\r\n\r\n");
    return client.receive();
  };
  EXPECT_EQ(call("HEAD").status, 200);
  const Reply options = call("OPTIONS");
  EXPECT_EQ(options.status, 204);
  EXPECT_EQ(options.head.find("Content-Length"), std::string::npos);
  EXPECT_EQ(call("PATCH").status, 405);
  EXPECT_EQ(call("FROBNICATE").status, 405);
}

TEST(HttpServer, KnowsTheAddressOfTheCaller) {
  TestServer server;
  Client client(server.port());
  EXPECT_EQ(client.get("/peer").body, "127.0.0.1");
}

TEST(HttpServer, NeverLetsAHeaderValueStartAnotherHeader) {
  api::RouteTable table;
  table.add({.method = api::Method::get,
             .pattern = "/x",
             .requirement = api::Requirement::free(),
             .handler = [](api::Context&) -> boost::asio::awaitable<api::Response> {
               co_return api::text_response("x").add_header("X-Value", "a\r\nX-Evil: b");
             },
             .summary = "test"});
  TestServer server({}, std::move(table));
  Client client(server.port());
  EXPECT_NE(client.get("/x").head.find("X-Value: a  X-Evil: b\r\n"), std::string::npos);
}

TEST(HttpServer, ServesOthersWhileARequestWaits) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> waiting{0};
  api::RouteTable table = plain_routes();
  table.add({.method = api::Method::get,
             .pattern = "/wait",
             .requirement = api::Requirement::free(),
             .handler = [&waiting, released](api::Context&) -> boost::asio::awaitable<api::Response> {
               ++waiting;
               while (released.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
                 const auto executor = co_await boost::asio::this_coro::executor;
                 co_await boost::asio::post(executor, boost::asio::use_awaitable);
               }
               co_return api::text_response("waited");
             },
             .summary = "test"});
  TestServer server({}, std::move(table));
  std::vector<std::unique_ptr<Client>> waiters;
  for (int i = 0; i < 10; ++i) {
    waiters.push_back(std::make_unique<Client>(server.port()));
    ASSERT_TRUE(waiters.back()->send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"));
  }
  while (waiting < 10) std::this_thread::yield();
  Client other(server.port());
  EXPECT_EQ(other.get("/hello").body, "hello");
  release.set_value();
  for (const auto& waiter : waiters) EXPECT_EQ(waiter->receive().body, "waited");
}

TEST(HttpServer, StopEndsIdleConnectionsAndRefusesNewOnes) {
  TestServer server;
  Client client(server.port());
  EXPECT_EQ(client.get("/hello").status, 200);
  server.server().stop();
  EXPECT_TRUE(client.is_closed());
  EXPECT_TRUE(server.wait_for_connections(0));
  EXPECT_FALSE(connect_to(server.port()));
}

TEST(HttpServer, SaysWhyItCannotStart) {
  TestServer server;
  Nobody nobody;
  IoPool pool(1);
  const auto start = [&](ListenOptions options) {
    auto service = std::make_shared<api::Service>(plain_routes(), nobody, api::CrossSitePolicy{});
    const auto result = serve_https({.listen = options}, pool, service);
    return result ? "started" : result.error().message;
  };
  const TlsOptions good = certificates().server_options();
  const std::string taken = start({.port = server.port(), .tls = good});
  EXPECT_NE(taken.find("bind: Address already in use"), std::string::npos) << taken;
  EXPECT_NE(start({.address = "nowhere", .tls = good}).find("'nowhere'"), std::string::npos);
  EXPECT_NE(start({.tls = {.certificate_file = "/nope.pem"}}).find("/nope.pem: No such file"), std::string::npos)
      << start({.tls = {.certificate_file = "/nope.pem"}});
  TlsOptions mismatch = good;
  mismatch.key_file = certificates().file("client-key.pem");
  EXPECT_NE(start({.tls = mismatch}).find("key values mismatch"), std::string::npos) << start({.tls = mismatch});
}

TEST(Tls, RefusesVersionsBefore12AndTakes12And13) {
  TestServer server;
  EXPECT_FALSE(Client(server.port(), {.max_version = TLS1_VERSION}).connected());
  EXPECT_FALSE(Client(server.port(), {.max_version = TLS1_1_VERSION}).connected());
  Client older(server.port(), {.max_version = TLS1_2_VERSION});
  EXPECT_EQ(older.get("/hello").body, "hello");
  Client newer(server.port());
  EXPECT_EQ(newer.get("/hello").body, "hello");
  EXPECT_EQ(SSL_version(newer.ssl()), TLS1_3_VERSION);
}

TEST(Tls, SelectsHttp11AndRefusesAClientThatOffersOnlyOthers) {
  TestServer server;
  Client both(server.port(), {.alpn = "\x02h2\x08http/1.1"});
  const unsigned char* selected = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(both.ssl(), &selected, &length);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(selected), length), "http/1.1");
  EXPECT_FALSE(Client(server.port(), {.alpn = "\x02h2"}).connected());
}

TEST(Tls, AsksForAClientCertificateOnlyWhenTold) {
  HttpServerOptions options;
  options.listen.tls = certificates().server_options();
  options.listen.tls.verify_client = true;
  TestServer server(options);
  Client known(server.port(), {.certificate = "client"});
  EXPECT_EQ(known.get("/hello").body, "hello");
  // With TLS 1.3 the client learns of the refusal when it reads.
  EXPECT_EQ(Client(server.port()).get("/hello").status, 0);
  EXPECT_EQ(Client(server.port(), {.certificate = "stranger"}).get("/hello").status, 0);
}

TEST(Tls, UsesANewCertificateAfterAReloadAndKeepsTheOldOneWhenTheNewIsBad) {
  TestServer server;
  TlsOptions bad = certificates().server_options();
  bad.key_file = "/nope";
  EXPECT_FALSE(server.server().reload_tls(bad));
  EXPECT_TRUE(Client(server.port()).connected());
  TlsOptions other = certificates().server_options();
  other.certificate_file = certificates().file("client.pem");
  other.key_file = certificates().file("client-key.pem");
  ASSERT_TRUE(server.server().reload_tls(other));
  Client client(server.port());
  ASSERT_TRUE(client.connected());
  const CertificatePtr shown(SSL_get1_peer_certificate(client.ssl()));
  char name[64] = {};
  X509_NAME_get_text_by_NID(X509_get_subject_name(shown.get()), NID_commonName, name, sizeof name);
  EXPECT_STREQ(name, "client");
}

}  // namespace
}  // namespace appmesh::transport

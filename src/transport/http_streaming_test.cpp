// Answers that are made while they are sent: how they are framed, what a slow or vanished peer does to their source.
#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gtest/gtest.h>

#include "api/body.h"
#include "transport/test_support.h"

namespace appmesh::transport {
namespace {

using namespace test;  // NOLINT: the tests of this room read better so
using boost::asio::awaitable;

struct Facts {
  std::atomic<std::uint64_t> made_bytes{0};
  std::atomic<bool> waiting{false};
  std::atomic<bool> cancelled{false};
};

// `pieces` times `piece`; then the end, an error, or a wait for cancel().
class Pieces : public api::BodySource {
 public:
  enum class Then : std::uint8_t { end, fail, wait };
  struct Plan {
    std::string piece;
    std::size_t pieces = 1;
    Then then = Then::end;
    std::optional<std::uint64_t> size = std::nullopt;
    std::shared_ptr<Facts> facts = std::make_shared<Facts>();
  };

  explicit Pieces(Plan plan) : plan_(std::move(plan)) {}

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return plan_.size; }

  awaitable<Result<std::string_view>> next() override {
    if (sent_ == plan_.pieces) {
      if (plan_.then == Then::fail) co_return fail(ErrorKind::internal, "the disk is gone");
      if (plan_.then == Then::end) co_return std::string_view();
      timer_.emplace(co_await boost::asio::this_coro::executor, boost::asio::steady_timer::time_point::max());
      plan_.facts->waiting = true;
      boost::system::error_code error;
      if (!plan_.facts->cancelled) {
        co_await timer_->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, error));
      }
      co_return fail(ErrorKind::unavailable, "cancelled");
    }
    ++sent_;
    plan_.facts->made_bytes += plan_.piece.size();
    co_return std::string_view(plan_.piece);
  }

  void cancel() override {
    plan_.facts->cancelled = true;
    if (timer_) timer_->cancel();
  }

 private:
  Plan plan_;
  std::size_t sent_ = 0;
  std::optional<boost::asio::steady_timer> timer_;
};

api::RouteTable table_with(const Pieces::Plan& plan) {
  api::RouteTable table = plain_routes();
  table.add({.method = api::Method::get,
             .pattern = "/stream",
             .requirement = api::Requirement::free(),
             .handler = [plan](api::Context&) -> awaitable<api::Response> {
               api::Response response;
               response.content_type = "application/octet-stream";
               response.stream = std::make_shared<Pieces>(plan);
               co_return response;
             },
             .summary = "test",
             .lasts = true});
  return table;
}

// At most half a minute.
bool comes_true(const std::function<bool()>& condition) {
  for (int i = 0; i < 3000; ++i) {
    if (condition()) return true;
    ::poll(nullptr, 0, 10);
  }
  return false;
}

constexpr std::string_view kGetStream = "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n";

TEST(HttpStreaming, AStreamOfKnownLengthSaysIt) {
  TestServer server({}, table_with({.piece = "abc", .pieces = 3, .size = 9}));
  Client client(server.port());
  const Reply reply = client.get("/stream");
  EXPECT_NE(reply.head.find("\r\nContent-Length: 9\r\n"), std::string::npos) << reply.head;
  EXPECT_EQ(reply.head.find("Transfer-Encoding"), std::string::npos) << reply.head;
  EXPECT_EQ(reply.body, "abcabcabc");
  EXPECT_EQ(client.get("/hello").body, "hello");
}

TEST(HttpStreaming, AStreamOfUnknownLengthComesInChunks) {
  for (const std::size_t size : {1UL, 16'384UL, 16'385UL, 1'000'000UL}) {
    TestServer server({}, table_with({.piece = std::string(size, 'x'), .pieces = 5}));
    Client client(server.port());
    const Reply reply = client.get("/stream");
    EXPECT_NE(reply.head.find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos) << reply.head;
    EXPECT_EQ(reply.head.find("Content-Length"), std::string::npos) << reply.head;
    EXPECT_EQ(reply.body, std::string(5 * size, 'x'));
    EXPECT_EQ(client.get("/hello").body, "hello");
  }
}

TEST(HttpStreaming, ToHttp10TheEndOfTheConnectionIsTheEndOfTheStream) {
  TestServer server({}, table_with({.piece = "abc", .pieces = 2}));
  Client client(server.port());
  client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const std::string all = client.receive_rest();
  EXPECT_EQ(all.find("chunked"), std::string::npos) << all;
  EXPECT_NE(all.find("\r\nConnection: close\r\n"), std::string::npos) << all;
  EXPECT_TRUE(all.ends_with("\r\n\r\nabcabc")) << all;
}

TEST(HttpStreaming, TheHeaderComesBeforeTheFirstPiece) {
  TestServer server({}, table_with({.pieces = 0, .then = Pieces::Then::wait}));
  Client client(server.port());
  client.send(kGetStream);
  std::string head(17, '\0');
  EXPECT_EQ(SSL_read(client.ssl(), head.data(), static_cast<int>(head.size())), 17);
  EXPECT_EQ(head, "HTTP/1.1 200 OK\r\n");
}

TEST(HttpStreaming, AFailureInTheMiddleCutsTheConnectionWithoutAnEnd) {
  const auto plan = [](std::optional<std::uint64_t> size) {
    return table_with({.piece = "abc", .then = Pieces::Then::fail, .size = size});
  };
  TestServer chunked({}, plan(std::nullopt));
  Client first(chunked.port());
  first.send(kGetStream);
  EXPECT_TRUE(first.receive_rest().ends_with("\r\n\r\n3\r\nabc\r\n"));
  TestServer sized({}, plan(9));
  Client second(sized.port());
  second.send(kGetStream);
  EXPECT_TRUE(second.receive_rest().ends_with("\r\n\r\nabc"));
  EXPECT_NE(SSL_get_shutdown(second.ssl()), SSL_RECEIVED_SHUTDOWN);
}

TEST(HttpStreaming, AStreamThatDoesNotKeepItsLengthIsCut) {
  for (const std::uint64_t announced : {2U, 10U}) {
    TestServer server({}, table_with({.piece = "abc", .pieces = 1, .size = announced}));
    Client client(server.port());
    client.send(kGetStream);
    const std::string all = client.receive_rest();
    EXPECT_TRUE(all.ends_with(announced < 3 ? "\r\n\r\n" : "\r\n\r\nabc")) << all;
    EXPECT_NE(SSL_get_shutdown(client.ssl()), SSL_RECEIVED_SHUTDOWN);
  }
}

TEST(HttpStreaming, AWaitingSourceIsCancelledWhenThePeerGoes) {
  const auto facts = std::make_shared<Facts>();
  TestServer server({}, table_with({.piece = "abc", .then = Pieces::Then::wait, .facts = facts}));
  {
    Client client(server.port());
    client.send(kGetStream);
    ASSERT_TRUE(comes_true([&] { return facts->waiting.load(); }));
    EXPECT_FALSE(facts->cancelled);
  }
  EXPECT_TRUE(comes_true([&] { return facts->cancelled.load(); }));
  EXPECT_TRUE(server.wait_for_connections(0));
}

TEST(HttpStreaming, AWaitingSourceIsCancelledWhenTheServerStops) {
  const auto facts = std::make_shared<Facts>();
  TestServer server({}, table_with({.piece = "abc", .then = Pieces::Then::wait, .facts = facts}));
  Client client(server.port());
  client.send(kGetStream);
  ASSERT_TRUE(comes_true([&] { return facts->waiting.load(); }));
  server.server().stop();
  EXPECT_TRUE(client.receive_rest().ends_with("\r\n3\r\nabc\r\n"));
  EXPECT_TRUE(facts->cancelled);
}

TEST(HttpStreaming, ASourceMakesNoMoreThanThePeerTakes) {
  const auto facts = std::make_shared<Facts>();
  constexpr std::size_t kPiece = 256UL * 1024;
  constexpr std::size_t kPieces = 400;
  TestServer server({}, table_with({.piece = std::string(kPiece, 'x'), .pieces = kPieces, .facts = facts}));
  Client client(server.port());
  client.send(kGetStream);
  // Until it stands still: then the socket's buffers are full.
  std::uint64_t before = 0;
  ASSERT_TRUE(comes_true([&] {
    ::poll(nullptr, 0, 100);
    return facts->made_bytes != 0 && facts->made_bytes == std::exchange(before, facts->made_bytes.load());
  }));
  EXPECT_LT(facts->made_bytes, kPiece * kPieces / 2);
  Client other(server.port());
  EXPECT_EQ(other.get("/hello").body, "hello");
  EXPECT_EQ(client.receive().body.size(), kPiece * kPieces);
}

TEST(HttpStreaming, APeerThatDoesNotReadIsCutOff) {
  TestServer server({.limits = {.write_timeout = std::chrono::milliseconds(300)}},
                    table_with({.piece = std::string(1'000'000, 'x'), .pieces = 1'000'000}));
  Client client(server.port());
  client.send(kGetStream);
  EXPECT_TRUE(server.wait_for_connections(0));
}

TEST(HttpStreaming, RequestsThatComeDuringAStreamAreAnsweredAfterIt) {
  TestServer server({}, table_with({.piece = std::string(100'000, 'x'), .pieces = 300, .size = 30'000'000}));
  Client client(server.port());
  client.send(kGetStream);
  client.send("GET /name/second HTTP/1.1\r\nHost: h\r\n\r\n");
  std::string wave;
  for (int i = 0; i < 5000; ++i) wave += "GET /name/" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  ASSERT_TRUE(client.send(wave));
  EXPECT_EQ(client.receive().body.size(), 30'000'000U);
  EXPECT_EQ(client.receive().body, "second");
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(client.receive().body, std::to_string(i));
}

}  // namespace
}  // namespace appmesh::transport

// What a worker says without a daemon; with one, scenarios 10, 11 and 13 of sdk/CONTRACT.md.
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>

#include <appmesh/error.h>
#include <appmesh/worker.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "worker_calls.h"

namespace appmesh {
namespace {

using testing::HasSubstr;

// Nobody listens on port 1.
WorkerOptions nobody(std::string url, std::optional<int> retries = std::nullopt) {
  return {.url = std::move(url),
          .transport = {.tls = {.verify = TlsOptions::Verify::kOff}},
          .app = "app",
          .process_key = "key",
          .retries = retries};
}

std::string echo(std::string payload) {
  return payload;
}

template <typename Call>
void expect_usage_error(Call call, const char* words) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const ClientError& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
}

TEST(Worker, KnowsSlots0To63) {
  Worker worker(nobody("tcp://127.0.0.1:1", 0));
  expect_usage_error([&] { worker.fetch_task(64); }, "0 to 63");
  expect_usage_error([&] { worker.send_result("", 64); }, "0 to 63");
  expect_usage_error([&] { worker.serve(echo, 0); }, "1 to 64");
  expect_usage_error([&] { worker.serve(echo, 65); }, "1 to 64");
}

TEST(Worker, SaysThatSeveralSlotsNeedTcp) {
  Worker worker(nobody("https://127.0.0.1:1", 0));
  expect_usage_error([&] { worker.serve(echo, 2); }, "use tcp://");
}

TEST(Worker, KnowsADaemonWithoutSlotsByItsAnswer) {
  EXPECT_TRUE(detail::knows_slots({.status = 400}));
  EXPECT_FALSE(detail::knows_slots({.status = 412}));
  EXPECT_THROW(detail::knows_slots({.status = 404}), ClientError);
  const Request question = detail::slots_question("/appmesh/app/a/task");
  EXPECT_EQ(question.query, (Fields{{"process_key", "none"}, {"slot", "64"}}));
  EXPECT_EQ(detail::worker_request("GET", "", "key", 0).query, (Fields{{"process_key", "key"}}));
}

// Takes connections and hangs up at once, as a daemon that goes down.
class Grave {
 public:
  Grave() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no listener");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int taken = 0; (taken = ::accept(listener_, nullptr, nullptr)) >= 0; ++count_) ::close(taken);
    });
  }
  ~Grave() { end(); }
  [[nodiscard]] std::string url() const { return "tcp://127.0.0.1:" + std::to_string(port_); }
  // How many connections it took; no more from now on.
  int end() {
    ::shutdown(listener_, SHUT_RDWR);
    if (thread_.joinable()) {
      thread_.join();
      ::close(listener_);
    }
    return count_;
  }

 private:
  int listener_;
  int port_ = 0;
  int count_ = 0;
  std::thread thread_;
};

TEST(Worker, ConnectsAgainAsOftenAsItWasTold) {
  for (const unsigned slots : {1U, 4U}) {
    Grave grave;
    Worker worker(nobody(grave.url(), 2));
    try {
      worker.serve(echo, slots);
      ADD_FAILURE() << "no error";
    } catch (const ClientError& error) {
      EXPECT_TRUE(error.connection_lost()) << error.what();
    }
    EXPECT_EQ(grave.end(), 3) << slots;
  }
}

TEST(Worker, IsStoppedWhileItTriesAgain) {
  for (const unsigned slots : {1U, 4U}) {
    Worker worker(nobody("tcp://127.0.0.1:1"));
    std::thread serving([&] { worker.serve(echo, slots); });
    worker.stop();
    serving.join();
  }
}

}  // namespace
}  // namespace appmesh

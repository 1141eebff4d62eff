#include "engine/os_users.h"

#include <atomic>
#include <future>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <gtest/gtest.h>

namespace appmesh::engine {
namespace {

class OsUsersTest : public testing::Test {
 protected:
  platform::User user(std::string name, uid_t uid) {
    return {.name = std::move(name), .uid = uid, .gid = uid, .groups = {uid}, .home = "/", .shell = "/bin/sh"};
  }
  std::string ask(OsUsers& users, const std::string& name) {
    std::string answer;
    users.find(name, [&](const OsUsers::Found& found) {
      answer = found ? std::to_string((*found)->uid) : found.error().message;
    });
    while (answer.empty()) context_.run_one();
    return answer;
  }

  boost::asio::io_context context_;
  Timers timers_{context_};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
};

TEST_F(OsUsersTest, LooksUpElsewhereAndRemembers) {
  std::atomic<int> lookups = 0;
  const auto here = std::this_thread::get_id();
  OsUsers users(context_, timers_, [&](const std::string& name) -> Result<platform::User> {
    EXPECT_NE(std::this_thread::get_id(), here);
    ++lookups;
    return user(name, 7);
  });
  EXPECT_EQ(ask(users, "ann"), "7");
  EXPECT_EQ(ask(users, "ann"), "7");
  EXPECT_EQ(lookups, 1);
}

TEST_F(OsUsersTest, AsksOnceForAllWhoWaitAndOneThatHangsHoldsUpNoOther) {
  std::promise<void> gate;
  std::atomic<int> lookups = 0;
  OsUsers users(context_, timers_,
                [&, opened = gate.get_future().share()](const std::string& name) -> Result<platform::User> {
                  if (name == "slow") opened.wait();
                  ++lookups;
                  return user(name, name == "slow" ? 8 : 9);
                });
  int answered = 0;
  for (int i = 0; i < 3; ++i) users.find("slow", [&](const OsUsers::Found& found) { answered += (*found)->uid == 8; });
  EXPECT_EQ(ask(users, "quick"), "9");
  EXPECT_EQ(answered, 0);
  gate.set_value();
  while (answered < 3) context_.run_one();
  EXPECT_EQ(lookups, 2);
}

TEST_F(OsUsersTest, ANameServiceThatNeverAnswersCostsThePatienceAndNotTheNextQuestions) {
  using namespace std::chrono_literals;
  std::promise<void> gate;
  std::atomic<int> lookups = 0;
  OsUsers users(
      context_, timers_,
      [&, opened = gate.get_future().share()](const std::string& name) -> Result<platform::User> {
        ++lookups;
        if (name.starts_with("slow")) opened.wait();
        return user(name, 9);
      },
      1ms);
  EXPECT_EQ(ask(users, "slow"), "user: no answer about slow within 1 s");
  EXPECT_EQ(ask(users, "slow"), "user: no answer about slow within 1 s");
  EXPECT_EQ(lookups, 1) << "the same question is not asked again while it hangs";
  gate.set_value();
  std::string answer;
  while (answer != "9") answer = ask(users, "slow");
  EXPECT_EQ(lookups, 1);
}

TEST_F(OsUsersTest, EndsWhileANameServiceHangs) {
  using namespace std::chrono_literals;
  auto gate = std::make_shared<std::promise<void>>();
  const auto opened = gate->get_future().share();
  {
    OsUsers users(
        context_, timers_,
        [opened](const std::string&) -> Result<platform::User> {
          opened.wait();
          return fail(ErrorKind::not_found, "no such OS user");
        },
        1ms);
    EXPECT_EQ(ask(users, "slow"), "user: no answer about slow within 1 s");
  }
  gate->set_value();
}

TEST_F(OsUsersTest, RefusesAnUnknownNameAndAnotherNameOfRoot) {
  OsUsers users(context_, timers_, [&](const std::string& name) -> Result<platform::User> {
    if (name == "root" || name == "toor") return user(name, 0);
    return fail(ErrorKind::not_found, "no such OS user " + name);
  });
  EXPECT_EQ(ask(users, "root"), "0");
  EXPECT_EQ(ask(users, "toor"), "user: toor has uid 0 and is not root");
  EXPECT_EQ(ask(users, "ghost"), "user: no such OS user ghost");
}

TEST_F(OsUsersTest, RemembersABoundedNumberOfNames) {
  std::atomic<int> lookups = 0;
  OsUsers users(context_, timers_, [&](const std::string& name) -> Result<platform::User> {
    ++lookups;
    return user(name, 7);
  });
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ask(users, "user" + std::to_string(i)), "7");
  EXPECT_EQ(ask(users, "user999"), "7");
  EXPECT_EQ(lookups, 1000);
}

}  // namespace
}  // namespace appmesh::engine

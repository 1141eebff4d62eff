#include "engine/timers.h"

#include <string>

#include <gtest/gtest.h>

#include "platform/clock.h"

namespace appmesh::engine {
namespace {

using namespace std::chrono_literals;

class TimersTest : public testing::Test {
 protected:
  boost::asio::io_context context_{1};
  Timers timers_{context_};
  std::string order_;

  Timers::Action note(char c) {
    return [this, c] { order_ += c; };
  }
};

TEST_F(TimersTest, FireInOrderOnBothClocks) {
  timers_.after(30ms, note('c'));
  timers_.after(10ms, note('a'));
  timers_.at(platform::wall_now() + 20ms, note('b'));
  while (order_.size() < 3) context_.run_one_for(5s);
  EXPECT_EQ(order_, "abc");
}

TEST_F(TimersTest, ThatArePastFireAtOnce) {
  timers_.at(platform::wall_now() - 1h, note('x'));
  context_.run_one_for(5s);
  EXPECT_EQ(order_, "x");
}

TEST_F(TimersTest, ThatWereCancelledDoNotFire) {
  const auto first = timers_.after(1ms, note('x'));
  timers_.after(5ms, note('y'));
  timers_.cancel(first);
  timers_.cancel(first);
  timers_.cancel(0);
  while (order_.empty()) context_.run_one_for(5s);
  EXPECT_EQ(order_, "y");
}

TEST_F(TimersTest, MayBeSetAndCancelledByAnAction) {
  TimerId later = 0;
  timers_.after(1ms, [&] {
    order_ += 'a';
    timers_.cancel(later);
    timers_.after(0ms, note('b'));
  });
  later = timers_.after(2ms, note('z'));
  while (order_.size() < 2) context_.run_one_for(5s);
  EXPECT_EQ(order_, "ab");
}

}  // namespace
}  // namespace appmesh::engine

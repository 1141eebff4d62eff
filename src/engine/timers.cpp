#include "engine/timers.h"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <system_error>

#include <sys/timerfd.h>

#include <unistd.h>

namespace appmesh::engine {

namespace {

int make_timerfd(int clock_id) {
  const int fd = ::timerfd_create(clock_id, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  return fd;
}

constexpr std::int64_t kFarAway = 4'000'000'000'000'000;  // microseconds: the year 2096

std::int64_t read_clock(int clock_id) {
  timespec now{};
  ::clock_gettime(clock_id, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

Timers::Clock::Clock(boost::asio::io_context& context, int id) : descriptor(context, make_timerfd(id)), clock_id(id) {}

// The wall timer is armed even when nothing is due, far away, so that the kernel tells of a clock that was set.
Timers::Timers(boost::asio::io_context& context, std::function<void()> on_clock_set)
    : on_clock_set_(std::move(on_clock_set)), wall_(context, CLOCK_REALTIME), steady_(context, CLOCK_MONOTONIC) {
  if (on_clock_set_) arm(wall_);
}

TimerId Timers::at(core::WallTime when, Action action) {
  return add(wall_, when.time_since_epoch().count(), std::move(action));
}

TimerId Timers::at(core::SteadyTime when, Action action) {
  return add(steady_, when.time_since_epoch().count(), std::move(action));
}

TimerId Timers::after(std::chrono::microseconds wait, Action action) {
  return add(steady_, read_clock(CLOCK_MONOTONIC) + wait.count(), std::move(action));
}

void Timers::cancel(TimerId id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  auto [clock, when] = found->second;
  index_.erase(found);
  clock->due.erase({when, id});
  arm(*clock);
}

TimerId Timers::add(Clock& clock, std::int64_t microseconds, Action action) {
  const TimerId id = ++last_;
  clock.due.emplace(std::pair{microseconds, id}, std::move(action));
  index_.emplace(id, std::pair{&clock, microseconds});
  arm(clock);
  return id;
}

void Timers::arm(Clock& clock) {
  const bool watched = &clock == &wall_ && on_clock_set_;
  const std::int64_t next = !clock.due.empty() ? std::max<std::int64_t>(1, clock.due.begin()->first.first)
                            : watched          ? kFarAway
                                               : 0;
  if (next != clock.armed) {
    itimerspec when{};
    when.it_value = {next / 1'000'000, next % 1'000'000 * 1000};
    int flags = TFD_TIMER_ABSTIME;
    if (clock.clock_id == CLOCK_REALTIME) flags |= TFD_TIMER_CANCEL_ON_SET;
    ::timerfd_settime(clock.descriptor.native_handle(), flags, &when, nullptr);
    clock.armed = next;
  }
  if (next != 0) wait(clock);
}

void Timers::wait(Clock& clock) {
  if (clock.waiting) return;
  clock.waiting = true;
  clock.descriptor.async_wait(
      boost::asio::posix::stream_descriptor::wait_read, [this, &clock](const boost::system::error_code& error) {
        if (error) return;
        clock.waiting = false;
        std::uint64_t expirations = 0;
        const bool clock_was_set =
            ::read(clock.descriptor.native_handle(), &expirations, sizeof expirations) < 0 && errno == ECANCELED;
        clock.armed = 0;
        run_due(clock);
        arm(clock);
        if (clock_was_set && on_clock_set_) on_clock_set_();
      });
}

void Timers::run_due(Clock& clock) {
  const std::int64_t now = read_clock(clock.clock_id);
  const TimerId newest = last_;  // what an action adds waits for the next round
  while (!clock.due.empty()) {
    const auto first = clock.due.begin();
    if (first->first.first > now || first->first.second > newest) return;
    Action action = std::move(first->second);
    index_.erase(first->first.second);
    clock.due.erase(first);
    action();
  }
}

}  // namespace appmesh::engine

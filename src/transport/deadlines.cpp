#include "transport/deadlines.h"

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/timerfd.h>

#include <unistd.h>

namespace appmesh::transport {
namespace {

int make_timer() {
  const int fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  return fd;
}

}  // namespace

void Deadline::set(std::chrono::milliseconds from_now) {
  at_ = Clock::now() + from_now;
  if (place_ && (*place_)->first <= at_) return;
  queue_.erase(*this);
  queue_.insert(*this);
}

void Deadline::leave() {
  queue_.erase(*this);
}

DeadlineQueue::DeadlineQueue(boost::asio::io_context& context) : timer_(std::in_place, context, make_timer()) {
  wait();
}

void DeadlineQueue::shut_down() {
  timer_.reset();
}

void DeadlineQueue::insert(Deadline& deadline) {
  deadline.place_ = queue_.emplace(deadline.at_, &deadline);
  if (deadline.at_ < armed_for_) arm();
}

void DeadlineQueue::erase(Deadline& deadline) {
  if (!deadline.place_) return;
  // The timer stays as it is: it may fire for nobody once, which costs less than to move it with every entry.
  queue_.erase(*deadline.place_);
  deadline.place_.reset();
}

void DeadlineQueue::arm() {
  if (!timer_) return;
  itimerspec spec{};
  armed_for_ = queue_.empty() ? Deadline::Clock::time_point::max() : queue_.begin()->first;
  if (!queue_.empty()) {
    // steady_clock is CLOCK_MONOTONIC, so its reading is the absolute time of the timer.
    const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(armed_for_.time_since_epoch()).count();
    spec.it_value.tv_sec = since / 1'000'000'000;
    spec.it_value.tv_nsec = since % 1'000'000'000;
  }
  ::timerfd_settime(timer_->native_handle(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

void DeadlineQueue::wait() {
  timer_->async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error) return;
    std::uint64_t expirations = 0;
    // Nothing to read means that the timer was moved after it fired: not an error.
    if (::read(timer_->native_handle(), &expirations, sizeof expirations) > 0) run_due();
    wait();
  });
}

void DeadlineQueue::run_due() {
  const auto now = Deadline::Clock::now();
  while (!queue_.empty() && queue_.begin()->first <= now) {
    Deadline& deadline = *queue_.begin()->second;
    queue_.erase(queue_.begin());
    deadline.place_.reset();
    if (deadline.at_ <= now) {
      deadline.at_ = Deadline::Clock::time_point::max();
      deadline.expired_();  // may destroy the deadline
    } else if (deadline.at_ != Deadline::Clock::time_point::max()) {
      deadline.place_ = queue_.emplace(deadline.at_, &deadline);
    }
  }
  arm();
}

}  // namespace appmesh::transport

// Time limits of many connections with one timerfd a thread. Moving a deadline is a store: the queue looks at an entry
// when the time that it was queued for comes, and queues it again when the deadline has moved meanwhile. Without
// entries the timer is off, so an idle process is never woken (asio's own timers tick every five minutes once they were
// used). Owned by an I/O thread of IoPool; everything here belongs to that thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace appmesh::transport {

class DeadlineQueue;

// One deadline of one owner. When it passes, `expired` is called once, and the deadline is off. The queue must outlive
// it.
class Deadline {
 public:
  using Clock = std::chrono::steady_clock;

  Deadline(DeadlineQueue& queue, std::function<void()> expired) : queue_(queue), expired_(std::move(expired)) {}
  ~Deadline() { leave(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  void set(std::chrono::milliseconds from_now);
  void clear() { at_ = Clock::time_point::max(); }

 private:
  friend class DeadlineQueue;
  using Queue = std::multimap<Clock::time_point, Deadline*>;
  void leave();

  DeadlineQueue& queue_;
  std::function<void()> expired_;
  Clock::time_point at_ = Clock::time_point::max();
  std::optional<Queue::iterator> place_;
};

class DeadlineQueue {
 public:
  // Throws std::system_error when the kernel has no timerfd for us.
  explicit DeadlineQueue(boost::asio::io_context& context);
  DeadlineQueue(const DeadlineQueue&) = delete;
  DeadlineQueue& operator=(const DeadlineQueue&) = delete;

  // Gives the timer back, for the end of the io_context. Deadlines may still be set and destroyed afterwards, but none
  // expires.
  void shut_down();

 private:
  friend class Deadline;
  void insert(Deadline& deadline);
  void erase(Deadline& deadline);
  void arm();  // for the earliest entry, or off
  void wait();
  void run_due();

  Deadline::Queue queue_;
  Deadline::Clock::time_point armed_for_ = Deadline::Clock::time_point::max();
  std::optional<boost::asio::posix::stream_descriptor> timer_;
};

}  // namespace appmesh::transport

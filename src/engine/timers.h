// All timers of the engine on two timerfds: one for wall time (re-armed by the kernel's notice when the clock is
// stepped), one for steady time. Nothing ticks while nothing is due. Used only on the engine thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/time.h"

namespace appmesh::engine {

using TimerId = std::uint64_t;  // 0: none

class Timers {
 public:
  using Action = std::move_only_function<void()>;

  // `on_clock_set` is called after somebody set the wall clock; what became due has run by then.
  explicit Timers(boost::asio::io_context& context, std::function<void()> on_clock_set = {});
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  TimerId at(core::WallTime when, Action action);
  TimerId at(core::SteadyTime when, Action action);
  TimerId after(std::chrono::microseconds wait, Action action);
  // Unknown and finished ids are fine.
  void cancel(TimerId id);

 private:
  // One clock: its descriptor, and what is due in order.
  struct Clock {
    Clock(boost::asio::io_context& context, int clock_id);
    boost::asio::posix::stream_descriptor descriptor;
    std::map<std::pair<std::int64_t, TimerId>, Action> due;  // microseconds of the clock
    std::int64_t armed = 0;                                  // 0: not armed
    int clock_id;
    bool waiting = false;
  };

  TimerId add(Clock& clock, std::int64_t microseconds, Action action);
  void arm(Clock& clock);
  void wait(Clock& clock);
  void run_due(Clock& clock);

  std::function<void()> on_clock_set_;
  Clock wall_;
  Clock steady_;
  std::unordered_map<TimerId, std::pair<Clock*, std::int64_t>> index_;
  TimerId last_ = 0;
};

}  // namespace appmesh::engine

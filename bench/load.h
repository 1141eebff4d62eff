// What the load programs share: callers that start together, latencies, and one JSON object on stdout. Each caller's
// samples belong to its own thread until run_callers() returns.
#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace appmesh::bench {

using Clock = std::chrono::steady_clock;

struct Load {
  std::vector<double> latencies_us;  // sorted
  double seconds = 0;                // from the common start to the last end
};

// `prepare(caller)` runs before the common start and returns what one call does. Throws the first caller's exception.
inline Load run_callers(int callers, int count_each, const std::function<std::function<void(int)>(int)>& prepare) {
  std::vector<std::vector<double>> samples(static_cast<std::size_t>(callers));
  std::vector<Clock::time_point> ends(static_cast<std::size_t>(callers));
  Clock::time_point start;
  std::barrier ready(callers, [&]() noexcept { start = Clock::now(); });
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> threads;
    for (int caller = 0; caller < callers; ++caller) {
      threads.emplace_back([&, caller] {
        const auto index = static_cast<std::size_t>(caller);
        bool arrived = false;
        try {
          const auto call = prepare(caller);
          samples[index].reserve(static_cast<std::size_t>(count_each));
          arrived = true;
          ready.arrive_and_wait();
          for (int i = 0; i < count_each; ++i) {
            const auto before = Clock::now();
            call(i);
            samples[index].push_back(std::chrono::duration<double, std::micro>(Clock::now() - before).count());
          }
        } catch (...) {
          if (!arrived) ready.arrive_and_drop();
          const std::lock_guard lock(mutex);
          if (!failure) failure = std::current_exception();
        }
        ends[index] = Clock::now();
      });
    }
  }
  if (failure) std::rethrow_exception(failure);
  Load load;
  for (const auto& one : samples) load.latencies_us.insert(load.latencies_us.end(), one.begin(), one.end());
  std::ranges::sort(load.latencies_us);
  load.seconds = std::chrono::duration<double>(*std::ranges::max_element(ends) - start).count();
  return load;
}

inline boost::json::object summary(const Load& load) {
  const auto at = [&](double share) {
    if (load.latencies_us.empty()) return 0.0;
    const auto last = static_cast<double>(load.latencies_us.size() - 1);
    return load.latencies_us[static_cast<std::size_t>(share * last + 0.5)];
  };
  return {{"calls", load.latencies_us.size()},
          {"seconds", load.seconds},
          {"per_second", static_cast<double>(load.latencies_us.size()) / load.seconds},
          {"p50_us", at(0.5)},
          {"p99_us", at(0.99)},
          {"max_us", at(1.0)}};
}

inline void print(const boost::json::object& result) {
  std::puts(boost::json::serialize(result).c_str());
}

}  // namespace appmesh::bench

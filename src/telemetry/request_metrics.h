// Counts the requests of every route: how many with which status, how long they took. Recording is a few relaxed
// atomic additions, so it costs a busy daemon next to nothing; the table is made at start and never grows. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace appmesh::telemetry {

class RequestMetrics {
 public:
  struct RouteName {
    std::string method;   // "GET"
    std::string pattern;  // "/appmesh/app/{name}"
  };

  // Upper bounds of the duration's buckets in seconds; one more bucket takes the rest.
  static constexpr std::array kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                         0.25,   0.5,   1.0,    2.5,   5.0,  10.0,  60.0};

  explicit RequestMetrics(std::vector<RouteName> routes);
  ~RequestMetrics();
  RequestMetrics(const RequestMetrics&) = delete;
  RequestMetrics& operator=(const RequestMetrics&) = delete;

  void began() { in_flight_.fetch_add(1, std::memory_order_relaxed); }
  // `route` is the place in the list given at construction; anything beyond it counts as "unmatched".
  void ended(std::size_t route, int status, std::chrono::nanoseconds duration);

  struct StatusCount {
    int status = 0;
    std::uint64_t count = 0;
  };
  struct RouteCounts {
    RouteName name;
    std::vector<StatusCount> statuses;
    std::array<std::uint64_t, kBounds.size() + 1> buckets{};  // not cumulative
    double seconds = 0;
  };
  // Routes that were never used are left out.
  [[nodiscard]] std::vector<RouteCounts> counts() const;
  [[nodiscard]] std::int64_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

 private:
  struct Cell;

  std::vector<RouteName> names_;
  std::unique_ptr<Cell[]> cells_;
  std::atomic<std::int64_t> in_flight_{0};
};

}  // namespace appmesh::telemetry

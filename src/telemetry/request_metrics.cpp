#include "telemetry/request_metrics.h"

#include <algorithm>

namespace appmesh::telemetry {
namespace {

// What this daemon answers with; any other status shares the last place.
constexpr std::array kKnown = {101, 200, 204, 206, 208, 307, 400, 401, 403, 404, 405, 407, 408, 409,
                               412, 413, 416, 417, 428, 429, 431, 500, 502, 503, 504, 507, 508, 0};

std::size_t place_of(int status) {
  const auto found = std::find(kKnown.begin(), kKnown.end() - 1, status);
  return static_cast<std::size_t>(found - kKnown.begin());
}

}  // namespace

struct RequestMetrics::Cell {
  std::array<std::atomic<std::uint64_t>, kKnown.size()> statuses{};
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets{};
  std::atomic<std::uint64_t> nanoseconds{0};
};

RequestMetrics::RequestMetrics(std::vector<RouteName> routes) : names_(std::move(routes)) {
  names_.push_back({"", "unmatched"});
  cells_ = std::make_unique<Cell[]>(names_.size());
}

RequestMetrics::~RequestMetrics() = default;

void RequestMetrics::ended(std::size_t route, int status, std::chrono::nanoseconds duration) {
  Cell& cell = cells_[std::min(route, names_.size() - 1)];
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  cell.statuses[place_of(status)].fetch_add(1, std::memory_order_relaxed);
  cell.buckets[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  cell.nanoseconds.fetch_add(static_cast<std::uint64_t>(duration.count()), std::memory_order_relaxed);
  in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

std::vector<RequestMetrics::RouteCounts> RequestMetrics::counts() const {
  std::vector<RouteCounts> all;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    RouteCounts route{.name = names_[i]};
    for (std::size_t s = 0; s < kKnown.size(); ++s)
      if (const auto count = cells_[i].statuses[s].load(std::memory_order_relaxed); count > 0)
        route.statuses.push_back({kKnown[s], count});
    if (route.statuses.empty()) continue;
    for (std::size_t b = 0; b < route.buckets.size(); ++b)
      route.buckets[b] = cells_[i].buckets[b].load(std::memory_order_relaxed);
    route.seconds = static_cast<double>(cells_[i].nanoseconds.load(std::memory_order_relaxed)) / 1e9;
    all.push_back(std::move(route));
  }
  return all;
}

}  // namespace appmesh::telemetry

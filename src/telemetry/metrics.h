// The text that Prometheus scrapes (text format 0.0.4), with the names of docs/wire.md#metrics. Owned by
// the daemon; render() reads /proc for every running app, so it belongs on a worker thread; any number at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/request_metrics.h"

namespace appmesh::telemetry {

struct ProcessUse {
  std::uint64_t memory_bytes = 0;
  double cpu_cores = 0;
  std::uint64_t descriptors = 0;
};

// Remote tasks of an app, for apps that ever had one; counted since the daemon started.
struct TaskUse {
  std::uint64_t queued = 0;  // now, without a worker
  std::uint64_t active = 0;  // now, with one
  std::uint64_t submitted = 0;
  std::uint64_t taken = 0;  // by a worker; wait_seconds is theirs together
  double wait_seconds = 0;
  double service_seconds = 0;  // of the answered ones together
  std::vector<std::pair<std::string, std::uint64_t>> outcomes;
};

struct AppUse {
  std::string name;
  std::uint64_t starts = 0;
  bool enabled = false;
  bool healthy = false;
  std::int32_t pid = 0;  // 0: nothing runs
  std::optional<ProcessUse> process;
  std::optional<TaskUse> tasks;
};

class Metrics {
 public:
  struct Sources {
    std::string host;
    std::string version;
    std::function<std::vector<AppUse>()> apps;
    const RequestMetrics* requests = nullptr;  // may be null
  };

  explicit Metrics(Sources sources) : sources_(std::move(sources)) {}

  [[nodiscard]] std::string render();

 private:
  void count_errors(const std::vector<AppUse>& apps);

  Sources sources_;
  std::atomic<std::uint64_t> scrapes_{0};
  std::mutex errors_mutex_;
  std::uint64_t all_errors_ = 0;
  std::map<std::string, std::uint64_t> errors_;  // by app, of those that are there
};

}  // namespace appmesh::telemetry

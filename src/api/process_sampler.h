// What a running process uses now: memory, CPU share, descriptors, its tree. Reading /proc costs tens of microseconds,
// so a sample serves everybody for a second; the CPU share is that between two samples. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "platform/process.h"

namespace appmesh::api {

struct ProcessSample {
  std::uint64_t memory_bytes = 0;  // resident
  double cpu_percent = 0;          // of one processor
  std::uint64_t descriptors = 0;
  std::string user;
  std::string tree;
};

class ProcessSampler {
 public:
  // nullptr: the process is gone.
  [[nodiscard]] std::shared_ptr<const ProcessSample> sample(std::int32_t pid);

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    std::shared_ptr<const ProcessSample> sample;
    Clock::time_point taken;
    std::uint64_t start_ticks = 0;
    std::uint64_t cpu_ticks = 0;
  };

  void forget_old(Clock::time_point now);

  platform::ProcFs proc_;
  std::mutex mutex_;
  std::unordered_map<std::int32_t, Entry> entries_;
};

}  // namespace appmesh::api

// What a run uses now, all of its processes together: memory, CPU share, descriptors; and the tree of its first. Its
// processes are those of its cgroup, its session, and their descendants. Reading /proc costs tens of microseconds a
// process, so a sample serves everybody for a second; the CPU share is that between two samples. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "platform/cgroup_members.h"
#include "platform/process.h"
#include "platform/process_table.h"

namespace appmesh::api {

struct ProcessSample {
  std::uint64_t memory_bytes = 0;  // resident; what they share is counted for each
  double cpu_percent = 0;          // of one processor
  std::uint64_t descriptors = 0;
  std::string user;
  std::string tree;
};

using ProcessSamplePtr = std::shared_ptr<const ProcessSample>;  // nullptr: the process is gone

class ProcessSampler {
 public:
  static constexpr std::size_t kMinKept = 4096;
  explicit ProcessSampler(platform::ProcFs proc = platform::ProcFs(), std::size_t min_kept = kMinKept,
                          platform::CgroupMembers cgroups = platform::CgroupMembers())
      : proc_(std::move(proc)), cgroups_(std::move(cgroups)), min_kept_(min_kept) {}

  [[nodiscard]] ProcessSamplePtr sample(std::int32_t pid);
  // The same for many, in their order; a pid of 0 has none. /proc is walked once for all of them, and who asks
  // meanwhile waits for that walk instead of making one. For a worker thread.
  [[nodiscard]] std::vector<ProcessSamplePtr> sample_all(std::span<const std::int32_t> pids);

  // How many samples are kept: at most twice min_kept, or four times what was last asked for at once.
  [[nodiscard]] std::size_t kept() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Entry {
    ProcessSamplePtr sample;
    Clock::time_point taken;
    Clock::time_point fresh_until;
    std::uint64_t start_ticks = 0;
    std::vector<std::pair<std::int32_t, std::uint64_t>> cpu_ticks;  // of each member
  };
  using Entries = std::unordered_map<std::int32_t, Entry>;
  using UserNames = std::unordered_map<uid_t, std::string>;

  // All under mutex_.
  [[nodiscard]] const Entry* find(std::int32_t pid) const;
  void keep(std::int32_t pid, Entry entry);

  // Fills what is fresh; returns the places that it left.
  std::vector<std::size_t> fill_fresh(std::span<const std::int32_t> pids, std::vector<ProcessSamplePtr>& samples);
  void walk(std::span<const std::int32_t> pids, std::span<const std::size_t> places,
            std::vector<ProcessSamplePtr>& samples);
  using Members = std::vector<const platform::ProcessStat*>;
  // The first of the members is the process itself.
  [[nodiscard]] Entry measure(const Members& members, const Entry* before, std::string tree, UserNames& users) const;
  // What is in the cgroup of one of these runs and neither in its session nor below it, by the run's process.
  [[nodiscard]] std::unordered_map<std::int32_t, Members> strayed(const platform::ProcessTable& table,
                                                                  std::span<const std::int32_t> pids) const;

  const platform::ProcFs proc_;
  const platform::CgroupMembers cgroups_;
  const std::size_t min_kept_;
  std::mutex walk_mutex_;     // taken first; held over a walk
  mutable std::mutex mutex_;  // held for lookups
  // When the young ones are too many or too old they become the old ones, and those before are dropped. So nothing is
  // searched for what to forget, however many apps there are.
  Entries young_;
  Entries old_;
  std::size_t max_young_ = 0;
  Clock::time_point turned_ = Clock::now();
};

}  // namespace appmesh::api

// Signals to every process of a cgroup, without ever hitting a stranger that got a recycled pid. Keeper thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/types.h>

namespace appmesh::keeper {

class CgroupSignaller {
 public:
  // directory: a cgroup directory, v1 or v2. SIGKILL reaches the cgroups below it too where the kernel has cgroup.kill;
  // elsewhere it goes round until no process is new, kKillRounds times at most (then EBUSY). count: processes found at
  // first. 0, or errno: EINVAL not a cgroup, EPERM the keeper itself is in it, E2BIG more than kMaxProcesses.
  int send(int directory, int signal, std::uint32_t& count);

 private:
  static constexpr std::size_t kMaxProcesses = 4096;
  static constexpr std::size_t kBatch = 128;  // pidfds open at once
  static constexpr int kKillRounds = 64;

  int read_processes(int directory);
  int signal_all(int directory, int signal);

  pid_t processes_[kMaxProcesses] = {};
  std::size_t count_ = 0;
  bool truncated_ = false;
  pid_t targets_[kMaxProcesses] = {};
  std::size_t target_count_ = 0;
};

}  // namespace appmesh::keeper

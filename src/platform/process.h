// What Linux knows of a process, from /proc, and signals through pidfds so that a recycled pid is never hit. ProcFs
// holds only the path of its root (a parameter, so tests use a fake tree); it and the free functions may be used on any
// thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "core/time.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

// Fields of /proc/<pid>/stat and statm, see proc(5).
struct ProcessStat {
  pid_t pid = 0;
  pid_t ppid = 0;
  pid_t process_group = 0;
  pid_t session = 0;
  char state = '?';
  std::string name;               // comm, at most 15 bytes, may hold anything
  std::uint64_t cpu_ticks = 0;    // utime + stime, in units of ticks_per_second()
  std::uint64_t start_ticks = 0;  // since boot: (pid, start_ticks) names a process for ever within one boot
  std::uint64_t rss_bytes = 0;
  std::uint64_t threads = 0;
  bool kernel_thread = false;
  [[nodiscard]] bool is_zombie() const { return state == 'Z' || state == 'X'; }
};

[[nodiscard]] std::uint64_t ticks_per_second();

class ProcFs {
 public:
  explicit ProcFs(std::filesystem::path root = "/proc") : root_(std::move(root)) {}

  // Error not_found when the process is gone.
  [[nodiscard]] Result<ProcessStat> stat(pid_t pid) const;
  // Of statm, which counts exactly; the rss of stat lags behind on kernels with per-CPU counters, see proc(5).
  [[nodiscard]] Result<std::uint64_t> resident_bytes(pid_t pid) const;
  [[nodiscard]] Result<uid_t> effective_uid(pid_t pid) const;
  [[nodiscard]] Result<std::uint64_t> open_descriptors(pid_t pid) const;
  // Arguments joined by spaces; empty for a kernel thread and a zombie. Cut at 4096 bytes.
  [[nodiscard]] Result<std::string> command_line(pid_t pid) const;
  // The first of the variables that the process was started with; nullopt when it has none. For some microseconds in
  // the middle of an exec the kernel shows no variables at all.
  [[nodiscard]] Result<std::optional<std::string>> environment_variable(
      pid_t pid, std::initializer_list<std::string_view> names) const;
  // Processes that vanish during the walk are left out, and rss_bytes is that of stat.
  [[nodiscard]] Result<std::vector<ProcessStat>> list_processes() const;
  // About how many there are, without a walk.
  [[nodiscard]] std::size_t process_count() const;
  // See ProcessTable::tree_text(), which is for many trees at once.
  [[nodiscard]] Result<std::string> tree_text(pid_t pid, std::size_t max_lines = 100) const;
  // Direct children, of all its threads; empty where the kernel does not tell.
  [[nodiscard]] std::vector<pid_t> children(pid_t pid) const;
  // Of this boot; another text means that every pid remembered from before is stale.
  [[nodiscard]] Result<std::string> boot_id() const;
  // When the machine booted (btime): with ticks_per_second() turns start_ticks into wall time, to the second.
  [[nodiscard]] Result<core::WallTime> boot_time() const;

 private:
  [[nodiscard]] std::string of(pid_t pid, std::string_view file) const;
  [[nodiscard]] Result<ProcessStat> stat_file(pid_t pid) const;
  std::filesystem::path root_;
};

// Error not_found: no such process (or only a zombie's thread).
[[nodiscard]] Result<UniqueFd> pidfd_open(pid_t pid);
// Error not_found: the process is gone. Signal 0 only asks.
[[nodiscard]] Result<void> pidfd_send_signal(int pidfd, int signal_number);
// A pidfd that surely belongs to the process with that start time, else not_found.
[[nodiscard]] Result<UniqueFd> pidfd_open_checked(const ProcFs& proc, pid_t pid, std::uint64_t start_ticks);

}  // namespace appmesh::platform

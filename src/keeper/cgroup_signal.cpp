#include "keeper/cgroup_signal.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <fcntl.h>

#include "keeper/descriptor.h"
#include "keeper/process.h"

namespace appmesh::keeper {
namespace {

bool is_in(const pid_t* pids, std::size_t count, pid_t wanted) {
  for (std::size_t i = 0; i < count; ++i) {
    if (pids[i] == wanted) return true;
  }
  return false;
}

}  // namespace

int CgroupSignaller::send(int directory, int signal, std::uint32_t& count) {
  struct statfs filesystem{};
  if (::fstatfs(directory, &filesystem) != 0) return errno;
  if (filesystem.f_type != CGROUP2_SUPER_MAGIC && filesystem.f_type != CGROUP_SUPER_MAGIC) return EINVAL;

  if (const int error = read_processes(directory); error != 0) return error;
  if (is_in(processes_, count_, ::getpid())) return EPERM;
  count = static_cast<std::uint32_t>(count_);
  if (signal == 0) return 0;

  if (signal != SIGKILL) return truncated_ ? E2BIG : signal_all(directory, signal);
  const Descriptor kill_file{::openat(directory, "cgroup.kill", O_WRONLY | O_CLOEXEC)};
  if (kill_file && ::write(kill_file.get(), "1", 1) == 1) return 0;
  for (int round = 0; round < kKillRounds; ++round) {
    if (const int error = signal_all(directory, signal); error != 0) return error;
    if (const int error = read_processes(directory); error != 0) return error;
    // Who has been killed does not fork any more, so once nobody is new all of them are on their way out.
    bool all_killed = !truncated_;
    for (std::size_t i = 0; i < count_ && all_killed; ++i) all_killed = is_in(targets_, target_count_, processes_[i]);
    if (all_killed) return 0;
  }
  return EBUSY;
}

int CgroupSignaller::read_processes(int directory) {
  count_ = 0;
  truncated_ = false;
  const Descriptor file{::openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC)};
  if (!file) return errno;
  char text[4096];
  pid_t pid = 0;
  for (;;) {
    const ssize_t length = ::read(file.get(), text, sizeof text);
    if (length < 0) return errno;
    if (length == 0) return 0;
    for (ssize_t i = 0; i < length; ++i) {
      if (text[i] != '\n') {
        pid = pid * 10 + (text[i] - '0');
        continue;
      }
      if (count_ == kMaxProcesses) {
        truncated_ = true;
        return 0;
      }
      if (pid > 1) processes_[count_++] = pid;  // 0 stands for processes of other pid namespaces
      pid = 0;
    }
  }
}

int CgroupSignaller::signal_all(int directory, int signal) {
  std::memcpy(targets_, processes_, count_ * sizeof(pid_t));
  target_count_ = count_;
  std::size_t next = 0;
  int failure = 0;
  while (next < target_count_) {
    pid_t pids[kBatch];
    int pidfds[kBatch];
    std::size_t held = 0;
    for (; next < target_count_ && held < kBatch; ++next) {
      const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, targets_[next], 0));
      if (pidfd < 0) {
        if (errno != ESRCH && errno != EINVAL) failure = errno;
        continue;
      }
      pids[held] = targets_[next];
      pidfds[held++] = pidfd;
    }
    // A pid that is listed again while we hold its pidfd is of the process that we hold, or that one is dead and gets
    // nothing.
    const int error = read_processes(directory);
    for (std::size_t i = 0; i < held; ++i) {
      const Descriptor pidfd{pidfds[i]};
      if (error != 0 || !is_in(processes_, count_, pids[i])) continue;
      const int refused = signal_process(pidfd.get(), signal);
      if (refused != 0 && refused != ESRCH) failure = refused;
    }
    if (error != 0) return error;
  }
  return failure;
}

}  // namespace appmesh::keeper

#include "keeper/cgroup_signal.h"

#include <cerrno>
#include <csignal>

#include <linux/magic.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <fcntl.h>
#include <sched.h>

#include "keeper/descriptor.h"
#include "keeper/process.h"

namespace appmesh::keeper {

int CgroupSignaller::send(int directory, int signal, std::uint32_t& count) {
  struct statfs filesystem{};
  if (::fstatfs(directory, &filesystem) != 0) return errno;
  if (filesystem.f_type != CGROUP2_SUPER_MAGIC && filesystem.f_type != CGROUP_SUPER_MAGIC) return EINVAL;

  if (const int error = read_processes(directory); error != 0) return error;
  if (listed(::getpid())) return EPERM;
  count = static_cast<std::uint32_t>(count_);
  if (signal == 0) return 0;

  if (signal == SIGKILL) {
    const Descriptor kill_file{::openat(directory, "cgroup.kill", O_WRONLY | O_CLOEXEC)};
    if (kill_file && ::write(kill_file.get(), "1", 1) == 1) return 0;
    for (int round = 0; round < kKillRounds; ++round) {
      if (count_ == 0 && !truncated_) return 0;
      if (const int error = signal_all(directory, signal); error != 0) return error;
      ::sched_yield();  // let the killed go before counting again
      if (const int error = read_processes(directory); error != 0) return error;
    }
    return count_ == 0 ? 0 : EBUSY;
  }
  if (truncated_) return E2BIG;
  return signal_all(directory, signal);
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

bool CgroupSignaller::listed(pid_t pid) const {
  for (std::size_t i = 0; i < count_; ++i) {
    if (processes_[i] == pid) return true;
  }
  return false;
}

int CgroupSignaller::signal_all(int directory, int signal) {
  std::size_t next = 0;
  int failure = 0;
  while (next < count_) {
    std::size_t held = 0;
    for (; next < count_ && held < kBatch; ++next) {
      const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, processes_[next], 0));
      if (pidfd < 0) {
        if (errno != ESRCH && errno != EINVAL) failure = errno;
        continue;
      }
      batch_pids_[held] = processes_[next];
      batch_pidfds_[held++] = pidfd;
    }
    // A process that is listed again while we hold its pidfd is the one that we hold, or ours is dead already and gets
    // nothing. Entries still to come keep their place only if nobody left, so the list starts over when it moved.
    const std::size_t before = count_;
    const int error = read_processes(directory);
    for (std::size_t i = 0; i < held; ++i) {
      const Descriptor pidfd{batch_pidfds_[i]};
      if (error != 0 || !listed(batch_pids_[i])) continue;
      const int refused = signal_process(pidfd.get(), signal);
      if (refused != 0 && refused != ESRCH) failure = refused;
    }
    if (error != 0) return error;
    if (count_ < before) next -= next < before - count_ ? next : before - count_;
  }
  return failure;
}

}  // namespace appmesh::keeper

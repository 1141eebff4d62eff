#include "keeper/process.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <sys/syscall.h>

#include <fcntl.h>

namespace appmesh::keeper {

std::uint64_t parse_start_ticks(const char* stat, std::size_t length) {
  // The name (field 2) may hold blanks and brackets, so fields are counted from its last bracket, which ends field 2.
  std::size_t at = length;
  while (at > 0 && stat[at - 1] != ')') --at;
  if (at == 0) return 0;
  int field = 2;
  while (at < length && field < 22) {
    if (stat[at++] == ' ') ++field;
  }
  std::uint64_t ticks = 0;
  while (at < length && stat[at] >= '0' && stat[at] <= '9')
    ticks = ticks * 10 + static_cast<std::uint64_t>(stat[at++] - '0');
  return ticks;
}

std::uint64_t read_start_ticks(pid_t pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", static_cast<int>(pid));
  const Descriptor file{::open(path, O_RDONLY | O_CLOEXEC)};
  if (!file) return 0;
  char text[1024];
  const ssize_t length = ::read(file.get(), text, sizeof text);
  return length > 0 ? parse_start_ticks(text, static_cast<std::size_t>(length)) : 0;
}

Descriptor open_process(pid_t pid, std::uint64_t& start_ticks, int& error) {
  error = ESRCH;
  if (pid <= 0) return {};
  Descriptor pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (!pidfd) {
    if (errno != EINVAL) error = errno;  // EINVAL: a thread, not a process
    return {};
  }
  // The order matters: what is read now belongs to the process that we hold, or it is gone and its signal 0 fails.
  const std::uint64_t ticks = read_start_ticks(pid);
  if (ticks == 0 || (start_ticks != 0 && ticks != start_ticks)) return {};
  if (signal_process(pidfd.get(), 0) == ESRCH) return {};
  start_ticks = ticks;
  error = 0;
  return pidfd;
}

int signal_process(int pidfd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? 0 : errno;
}

int signal_group(int pidfd, pid_t pid, int signal) {
  constexpr unsigned kProcessGroup = 4;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
  if (::getpgid(pid) != pid) return signal_process(pidfd, 0) == ESRCH ? ESRCH : EINVAL;
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, kProcessGroup) == 0) return 0;
  if (errno != EINVAL) return errno;
  if (const int error = signal_process(pidfd, 0); error != 0) return error;
  return ::kill(-pid, signal) == 0 ? 0 : errno;
}

}  // namespace appmesh::keeper

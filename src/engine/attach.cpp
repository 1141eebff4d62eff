#include "engine/attach.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "platform/file.h"
#include "platform/process.h"

namespace appmesh::engine {

namespace {

constexpr std::uint64_t kStatusBytes = 64 * 1024;
constexpr std::size_t kMaxMoved = 10'000;
constexpr int kMaxAncestors = 1000;

// Real, effective, saved and file system uid: a process that can go back to another user is not this user's.
bool belongs_to(pid_t pid, uid_t uid) {
  const auto status = platform::read_file(fmt::format("/proc/{}/status", pid), kStatusBytes);
  if (!status) return false;
  const auto line = status->find("\nUid:");
  if (line == std::string::npos) return false;
  const char* at = status->data() + line + 5;
  const char* end = status->data() + status->size();
  for (int count = 0; count < 4; ++count) {
    while (at < end && (*at == ' ' || *at == '\t')) ++at;
    uid_t found = 0;
    const auto [next, error] = std::from_chars(at, end, found);
    if (error != std::errc{} || found != uid) return false;
    at = next;
  }
  return true;
}

bool is_ancestor(const platform::ProcFs& proc, pid_t ancestor, pid_t pid) {
  for (int steps = 0; pid > 1 && steps < kMaxAncestors; ++steps) {
    if (pid == ancestor) return true;
    const auto stat = proc.stat(pid);
    if (!stat) return false;
    pid = stat->ppid;
  }
  return false;
}

}  // namespace

Result<AttachTarget> check_attachable(pid_t pid, uid_t uid, std::span<const pid_t> protected_pids) {
  const platform::ProcFs proc;
  const auto refuse = [&](std::string_view reason) {
    return fail(ErrorKind::permission_denied, fmt::format("field 'pid': {} {}", pid, reason));
  };
  // A pidfd is had of processes only, /proc knows the ids of threads too.
  const auto handle = platform::pidfd_open(pid);
  const auto stat = proc.stat(pid);
  if (!handle || !stat || stat->is_zombie())
    return fail(ErrorKind::invalid_argument, fmt::format("field 'pid': no such process: {}", pid));
  if (pid == 1) return refuse("is the init process");
  if (stat->kernel_thread) return refuse("is a kernel thread");
  for (const pid_t kept : protected_pids) {
    if (pid == kept) return refuse("is App Mesh itself");
    if (is_ancestor(proc, pid, kept)) return refuse("is what App Mesh itself was started from");
  }
  if (uid != 0 && !belongs_to(pid, uid)) return refuse("belongs to another OS user than the application would run as");
  return AttachTarget{pid, stat->start_ticks};
}

Result<void> move_into(const platform::Cgroup& cgroup, pid_t pid) {
  const platform::ProcFs proc;
  if (auto moved = cgroup.add_process(pid); !moved) return moved;
  std::vector<pid_t> moved{pid};
  for (std::size_t next = 0; next < moved.size() && moved.size() < kMaxMoved; ++next)
    for (const pid_t child : proc.children(moved[next]))
      if (std::ranges::find(moved, child) == moved.end() && cgroup.add_process(child)) moved.push_back(child);
  return {};
}

}  // namespace appmesh::engine

// Runs that this process did not start as its children: those of a keeper that was killed, those that were adopted on
// request; and the hand-over to the next program in place.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/syscall.h>

#include <fcntl.h>

#include "keeper/keeper.h"
#include "keeper/log.h"
#include "keeper/process.h"

namespace appmesh::keeper {

void Keeper::take_over(Predecessor predecessor) {
  for (std::uint32_t i = 1; i <= table_.high_water(); ++i) {
    Slot& slot = table_.at(i);
    if (slot.state != RunState::starting && slot.state != RunState::running) continue;
    // After a re-exec only a start that was given up can be left; its child is dead or will never run code of ours
    // again.
    if (slot.state == RunState::running && predecessor == Predecessor::ourselves && (slot.flags & kRunAdopted) == 0)
      continue;  // our child, still
    take_over(slot);
  }
  if (predecessor == Predecessor::other && table_.used() > 0) {
    log("took over from keeper generation %llu: %u runs live, %u have ended",
        static_cast<unsigned long long>(table_.header().generation - 1), table_.living(),
        table_.used() - table_.living());
  }
}

void Keeper::take_over(Slot& slot) {
  if (slot.state == RunState::starting) {
    // No pid: the kernel made no child. An error: the child gave up before exec. Neither ever ran, and the daemon,
    // which was told nothing, finds nothing in the list.
    if (slot.pid == 0 || slot.spawn_error != 0) return table_.release(slot);
  }
  std::uint64_t start_ticks = slot.start_ticks;
  int error = 0;
  // Without a start time nothing can be told about the pid; the child notes it before it does anything else.
  Descriptor pidfd = start_ticks != 0 ? open_process(slot.pid, start_ticks, error) : Descriptor{};
  const std::int64_t started_us = slot.started_us != 0 ? slot.started_us : realtime_us();
  table_.set_running(slot, slot.flags | kRunAdopted, started_us);
  if (pidfd && watch(slot, static_cast<Descriptor&&>(pidfd))) return;
  if (pidfd || (error != 0 && error != ESRCH)) {
    // Perhaps too many descriptors. It must not count as ended, or it would be started twice; List and Signal try
    // again.
    log("cannot watch pid %d: %s", slot.pid, ::strerrordesc_np(pidfd ? errno : error));
    return;
  }
  adopted_exited(slot);
}

bool Keeper::unwatched(const Slot& slot) const {
  return slot.state == RunState::running && (slot.flags & kRunAdopted) != 0 && slot.pidfd < 0;
}

void Keeper::adopted_exited(Slot& slot) {
  exited(slot, Exit{.exited_us = realtime_us()}, slot.flags | kExitUnknown);
}

void Keeper::on_adopt(const Adopt& request) {
  if (request.tag_bytes > kMaxTagBytes) return send_error(request.header, E2BIG, "tag_bytes: too long");
  if (request.header.size != sizeof(Adopt) + request.tag_bytes) {
    return send_error(request.header, EBADMSG, "tag_bytes: does not match the size");
  }
  if (request.run_id == RunId{}) return send_error(request.header, EINVAL, "run_id: all zero");
  if (request.pid <= 1 || request.pid == ::getpid())
    return send_error(request.header, EINVAL, "pid: may not be adopted");
  if (table_.find(request.run_id) != nullptr) return send_error(request.header, EEXIST, "run_id: in use");
  if (table_.find_pid(request.pid) != nullptr) return send_error(request.header, EEXIST, "pid: belongs to a run");

  std::uint64_t start_ticks = request.start_ticks;
  int error = 0;
  Descriptor pidfd = open_process(request.pid, start_ticks, error);
  if (!pidfd) return send_error(request.header, error, "pid: no such process with that start time");
  Slot* const slot =
      table_.allocate(request.run_id, reinterpret_cast<const char*>(&request + 1), request.tag_bytes, error);
  if (slot == nullptr) return send_error(request.header, error, "table: no slot free");
  slot->pid = request.pid;
  slot->start_ticks = start_ticks;
  if (!watch(*slot, static_cast<Descriptor&&>(pidfd))) {
    error = errno;
    table_.release(*slot);
    return send_error(request.header, error, "pid: cannot be watched");
  }
  table_.set_running(*slot, kRunAdopted, realtime_us());
  send_started(*slot, MessageType::adopted, request.header.request_id);
}

// The old main process, if it is our child, is reaped like any other that belongs to no run.
void Keeper::on_main_pid(const MainPid& request) {
  Slot* const slot = table_.find(request.run_id);
  if (slot == nullptr || slot->state != RunState::running)
    return send_error(request.header, ESRCH, "run_id: no living run");
  if (slot->pid == request.pid) return send_done(request.header.request_id, 1);
  if (request.pid <= 1 || request.pid == ::getpid())
    return send_error(request.header, EINVAL, "pid: may not stand for a run");
  if (table_.find_pid(request.pid) != nullptr) return send_error(request.header, EEXIST, "pid: belongs to a run");
  std::uint64_t start_ticks = request.start_ticks;
  int error = 0;
  Descriptor pidfd = open_process(request.pid, start_ticks, error);
  if (!pidfd) return send_error(request.header, error, "pid: no such process with that start time");
  const int before = slot->pidfd;
  if (!watch(*slot, static_cast<Descriptor&&>(pidfd)))
    return send_error(request.header, errno, "pid: cannot be watched");
  Descriptor{before}.reset();
  table_.change_pid(*slot, request.pid, start_ticks);
  send_done(request.header.request_id, 1);
}

// Comes back only when it failed, with errno.
int Keeper::reexec(std::uint64_t request_id) {
  const int kept[] = {listener_.get(), connection_.get(), table_.descriptor()};
  const auto keep_over_exec = [&](bool keep) {
    for (const int descriptor : kept) ::fcntl(descriptor, F_SETFD, keep ? 0 : FD_CLOEXEC);
    table_.keep_over_exec(keep);
  };
  char state[128];
  std::snprintf(state, sizeof state, "%d,%d,%d,%llu", kept[0], kept[1], kept[2],
                static_cast<unsigned long long>(request_id));
  char limits[kLimitsTextBytes];
  format_limits(options_.child_limits, limits);
  char limit[24];
  std::snprintf(limit, sizeof limit, "%lld", static_cast<long long>(options_.spawn_timeout_us / 1000));
  const char* const arguments[] = {options_.program, "--home", options_.home, "--start-limit", limit,
                                   "--limits",       limits,   "--resume",    state,           nullptr};
  keep_over_exec(true);
  int error = 0;
  if (inbox_.descriptor_count() == 1) {
    ::syscall(SYS_execveat, inbox_.descriptors()[0], "", arguments, environ, AT_EMPTY_PATH);
    error = errno;
  } else {
    ::execve(options_.program, const_cast<char* const*>(arguments), environ);
    error = errno;
  }
  keep_over_exec(false);
  return error;
}

}  // namespace appmesh::keeper

// Which foreign process an app may adopt (docs/wire.md#attach), from what /proc tells. Pure questions to
// the kernel with no state; any thread, some microseconds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "platform/cgroup.h"

namespace appmesh::engine {

// (pid, start_ticks) names one process for ever within a boot, so a recycled pid is never taken for it.
struct AttachTarget {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
};

// `uid` is the OS user that the app would run as; 0 may adopt anybody's. `protected_pids` are the daemon and the
// keeper: neither they nor a process that they descend from. Errors: invalid_argument when there is no such process,
// permission_denied; both name the field. That it is not managed already is the caller's to know.
[[nodiscard]] Result<AttachTarget> check_attachable(pid_t pid, uid_t uid, std::span<const pid_t> protected_pids);

// The process and its descendants into the cgroup, the eldest first, so that what is forked meanwhile is born in it.
// Descendants that vanish or cannot be moved are left out.
[[nodiscard]] Result<void> move_into(const platform::Cgroup& cgroup, pid_t pid);

}  // namespace appmesh::engine

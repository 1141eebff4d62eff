// Pseudo terminals: the pair of descriptors, and their size. Stateless, any thread.
#pragma once

#include <cstdint>

#include <sys/types.h>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

struct TerminalSize {
  std::uint16_t rows = 24;
  std::uint16_t columns = 80;
};

struct Terminal {
  UniqueFd master;  // does not block
  UniqueFd slave;   // of mode 0600, of its owner
};

// Nobody's controlling terminal yet. -1 leaves owner or group as they are. Error: internal with the step.
[[nodiscard]] Result<Terminal> open_terminal(TerminalSize size, uid_t uid, gid_t gid);

// Tells the foreground processes too (SIGWINCH).
[[nodiscard]] Result<void> resize_terminal(int master, TerminalSize size);

}  // namespace appmesh::platform

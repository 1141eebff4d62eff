// Reaching the keeper: connect to its socket, starting the program when nobody listens, and shake hands. Blocking
// (bounded by ten seconds a step): call it on a thread that may wait.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "keeper/protocol.h"
#include "platform/unique_fd.h"

namespace appmesh::runtime {

struct KeeperConnection {
  platform::UniqueFd socket;  // non-blocking
  keeper::HelloReply hello{};
};

// Errors: internal, with what failed as the message.
[[nodiscard]] Result<KeeperConnection> connect_keeper(const std::filesystem::path& home,
                                                      const std::filesystem::path& program);

}  // namespace appmesh::runtime

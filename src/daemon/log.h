// The daemon's log: work/server.log, turned over at 50 MB with five files kept, and the terminal when there is one. Set
// up once by main; afterwards spdlog's default logger may be used on any thread. It never blocks: a full queue drops
// the oldest.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "store/configuration.h"

namespace appmesh::daemon {

[[nodiscard]] Result<void> open_log(const std::filesystem::path& file);
// The file by its name again, made anew when it was moved away. Errors: it cannot be opened, and the old one goes on.
[[nodiscard]] Result<void> reopen_log(const std::filesystem::path& file);
void set_log_level(store::LogLevel level);
void close_log();

}  // namespace appmesh::daemon

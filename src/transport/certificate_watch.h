// Tells when certificate files were changed by whoever renews them, so that no restart or signal is needed.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "core/error.h"
#include "transport/io_pool.h"

namespace appmesh::transport {

// `changed` is called on `thread` shortly after the last of a burst of changes to any of `files`, written in place or
// renamed over; a key and its certificate are rarely replaced at one instant. Goes on until the thread ends. Errors:
// those of inotify.
[[nodiscard]] Result<void> watch_certificates(IoThread& thread, const std::vector<std::filesystem::path>& files,
                                              std::function<void()> changed);

}  // namespace appmesh::transport

// Opening a name that somebody else chose, and knowing afterwards what was opened: the kernel resolves it (openat2), so
// there is no moment between the check and the use. Free functions, any thread; all of them may block on the disk.
#pragma once

#include <filesystem>
#include <string>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

// A descriptor that only names the file (O_PATH): opening a device or a FIFO so does nothing to it. `path` is absolute.
// Symlinks are followed but never those of /proc that lead anywhere. With a `base` the whole way must stay below it:
// no "..", no symlink, not even a race of renames leads out; an absolute symlink counts as leading out. Errors:
// permission_denied for a way out, else those of file_error().
[[nodiscard]] Result<UniqueFd> open_path(const std::filesystem::path& path, const std::filesystem::path& base);
[[nodiscard]] Result<UniqueFd> open_path_directory(const std::filesystem::path& path,
                                                   const std::filesystem::path& base);

// Where the open file lies now, without symlinks. Error not_found: it was deleted.
[[nodiscard]] Result<std::filesystem::path> real_path(int fd);

// The same file opened with other flags, O_RDONLY say: of an O_PATH descriptor, whatever its name leads to by now.
[[nodiscard]] Result<UniqueFd> reopen(int fd, int flags);

// True when `path` is `directory` or lies below it. Both absolute and without "." and "..".
[[nodiscard]] bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory);

}  // namespace appmesh::platform

// Files and directories with the errors as values: bounded reads, writes that are whole or not there at all, private
// directories, and a lock that a killed holder gives up by itself. Free functions are safe on any thread; all of them
// block on the disk, so none belongs on the engine thread once it runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

// "open /x: No such file or directory" with the kind that fits the errno (not_found, permission_denied, conflict for
// EEXIST, too_large, insufficient_storage, else internal).
[[nodiscard]] std::unexpected<Error> file_error(std::string_view step, const std::filesystem::path& path,
                                                int error_number);

// The whole file. Errors: not_found, permission_denied, too_large beyond `max_bytes`, invalid_argument for anything but
// a regular file (but /proc and /sys files are regular too, and are read to their end whatever size they claim).
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes);
// The same for a file below an open directory, `name` being relative to it.
[[nodiscard]] Result<std::string> read_file_at(int directory_fd, const std::string& name, std::uint64_t max_bytes);

// A file that holds a secret. Errors besides those of read_file: permission_denied when its owner is neither this user
// nor root, or when the group or others have any right to it.
[[nodiscard]] Result<std::string> read_private_file(const std::filesystem::path& path, std::uint64_t max_bytes);

// Writes a temporary file beside the target (O_EXCL, `mode` from birth whatever the umask), syncs it, renames it over
// the target, and syncs the directory: after success it survives a power cut, after failure the old content is
// untouched.
[[nodiscard]] Result<void> write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode);

struct NewContent {
  std::string name;  // below the directory
  std::string content;
};
// The same for many files of one directory, of which each is whole or untouched on its own: the disk is waited for
// about twice for all of them together instead of twice for each. One result for each file, in their order.
[[nodiscard]] std::vector<Result<void>> write_files_atomic_at(int directory_fd, std::span<const NewContent> files,
                                                              mode_t mode);

// Makes the file and fails with conflict when it is there already: for keys, which must never be overwritten.
[[nodiscard]] Result<void> create_file(const std::filesystem::path& path, std::string_view content, mode_t mode);

// Everything or an error; goes on after short writes and EINTR.
[[nodiscard]] Result<void> write_all(int fd, std::string_view content);
[[nodiscard]] Result<void> sync_fd(int fd);

// Makes the directory and its parents; each new one gets `mode`. An existing directory is left as it is.
[[nodiscard]] Result<void> make_dirs(const std::filesystem::path& path, mode_t mode);

[[nodiscard]] Result<UniqueFd> open_directory(const std::filesystem::path& path);

// Names in an open directory, "." and ".." left out, in no order. Error too_large when there are more than
// `max_entries`.
[[nodiscard]] Result<std::vector<std::string>> list_directory(int directory_fd, std::size_t max_entries);

// A flock(2) on a file that holds the pid of its holder as text. The kernel frees it when the holder dies, however it
// dies; the file itself stays.
class LockFile {
 public:
  // Error conflict that names the holder's pid when another process has it. Waits for a holder that is dying, 10 s at
  // most: a daemon that is started again at once after a kill -9 must not fail.
  [[nodiscard]] static Result<LockFile> acquire(const std::filesystem::path& path);

 private:
  explicit LockFile(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace appmesh::platform

// Which files of the host a caller may read and write, and opening them: docs/wire.md#files. The rules
// are applied to what was opened, not to a name that may mean something else a moment later. Owned by the daemon; any
// thread, but all calls block on the disk and belong on a worker.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/stat.h>

#include "core/error.h"
#include "platform/new_file.h"
#include "platform/unique_fd.h"

namespace appmesh::api {

inline constexpr std::uint64_t kMaxUploadBytes = 2UL * 1024 * 1024 * 1024;

// X-File-Mode, X-File-User and X-File-Group as they were sent; empty: not sent.
struct FileAttributes {
  std::string mode;
  std::string user;  // of an upload a name or an id, of a download an id
  std::string group;
  std::string user_name = {};  // of a download
  std::string group_name = {};
};

// A regular file that may be read. The size is that of the moment of opening, and no more than that is sent.
struct OpenedFile {
  platform::UniqueFd fd;
  std::string name;  // the last component of the path that was asked for
  std::uint64_t size_bytes = 0;
  std::int64_t modified = 0;  // epoch seconds
  FileAttributes attributes;
};

// A file that is being received.
struct ReceivedFile {
  platform::NewFile file;
  platform::NewFile::Attributes attributes;
};

class FileStore {
 public:
  struct Options {
    std::filesystem::path home;
    std::filesystem::path tmp;                            // where relative paths begin
    std::function<std::filesystem::path()> allowed_base;  // FileAllowedBaseDir of now; empty: no restriction
  };
  explicit FileStore(Options options);

  // `os_user` is whom the caller acts as, in each of these: the host's own permissions of that user count.
  // Errors: invalid_argument (nothing given, not a regular file), permission_denied "Invalid file path" (a ".."
  // component, NUL, outside of the base, the daemon's own secrets by whatever name, /proc and the like), not_found.
  [[nodiscard]] Result<OpenedFile> open(std::string_view path, const std::string& os_user) const;

  // The same, and: conflict (something has that name), invalid_argument (it is a symlink), permission_denied (below a
  // directory of the system or the daemon's own), insufficient_storage when `announced_bytes` are more than there is.
  [[nodiscard]] Result<std::shared_ptr<ReceivedFile>> create(std::string_view path, const std::string& os_user,
                                                             const FileAttributes& attributes,
                                                             std::optional<std::uint64_t> announced_bytes) const;
  // What create() would say, and nothing is made.
  [[nodiscard]] Result<void> check_target(std::string_view path, const std::string& os_user) const;

 private:
  struct Target {
    platform::UniqueFd directory;
    std::string name;
  };
  [[nodiscard]] Result<std::filesystem::path> absolute(std::string_view path) const;
  [[nodiscard]] Result<std::filesystem::path> base_of(const std::filesystem::path& path) const;
  [[nodiscard]] Result<Target> target_of(std::string_view path) const;
  [[nodiscard]] bool is_linked_secret(const struct stat& info) const;
  [[nodiscard]] bool may_read(const std::filesystem::path& path, unsigned mode) const;
  [[nodiscard]] bool may_write(const std::filesystem::path& path) const;

  const Options options_;
  std::filesystem::path home_;  // without symlinks, both
  std::filesystem::path tmp_;
  std::vector<std::filesystem::path> never_written_;
};

}  // namespace appmesh::api

#include "platform/file.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>

#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>

#include "platform/random.h"

namespace appmesh::platform {
namespace {

ErrorKind kind_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorKind::not_found;
    case EACCES:
    case EPERM:
      return ErrorKind::permission_denied;
    case EEXIST:
      return ErrorKind::conflict;
    case EFBIG:
      return ErrorKind::too_large;
    case ENAMETOOLONG:
    case EISDIR:
    case ELOOP:
      return ErrorKind::invalid_argument;
    default:
      return ErrorKind::internal;
  }
}

Result<std::string> read_open_file(const UniqueFd& fd, const std::filesystem::path& path, std::uint64_t max_bytes) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return file_error("stat", path, errno);
  if (!S_ISREG(info.st_mode)) return fail(ErrorKind::invalid_argument, path.string() + " is not a regular file");
  const auto too_large = [&] {
    return fail(ErrorKind::too_large, path.string() + " is larger than " + std::to_string(max_bytes) + " bytes");
  };
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes) return too_large();
  std::string content;
  content.reserve(static_cast<std::size_t>(info.st_size));
  std::array<char, 16384> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EINTR) continue;
      return file_error("read", path, errno);
    }
    if (got == 0) return content;
    // The size from stat is no bound: the file may grow, and files in /proc say 0.
    if (content.size() + static_cast<std::size_t>(got) > max_bytes) return too_large();
    content.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

// Makes `name` with exactly `mode`, filled and synced. The caller unlinks it after a failure that comes later.
Result<void> write_new_file(int directory_fd, const std::string& name, std::string_view content, mode_t mode) {
  UniqueFd fd{::openat(directory_fd, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0700U)};
  if (!fd) return file_error("create", name, errno);
  Result<void> done = write_all(fd.get(), content);
  // The umask may have taken bits away; more than the owner's are given only now that the content is there.
  if (done && ::fchmod(fd.get(), mode) != 0) done = file_error("chmod", name, errno);
  if (done) done = sync_fd(fd.get());
  if (!done) ::unlinkat(directory_fd, name.c_str(), 0);
  return done;
}

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

std::filesystem::path parent_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path{"."};
}

}  // namespace

std::unexpected<Error> file_error(std::string_view step, const std::filesystem::path& path, int error_number) {
  std::string message{step};
  message += ' ';
  message += path.string();
  message += ": ";
  message += std::generic_category().message(error_number);
  return fail(kind_of(error_number), std::move(message));
}

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  // O_NONBLOCK: opening a fifo that somebody put there must not hang.
  UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!fd) return file_error("open", path, errno);
  return read_open_file(fd, path, max_bytes);
}

Result<std::string> read_file_at(int directory_fd, const std::string& name, std::uint64_t max_bytes) {
  UniqueFd fd{::openat(directory_fd, name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!fd) return file_error("open", name, errno);
  return read_open_file(fd, name, max_bytes);
}

Result<std::string> read_private_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (!fd) return file_error("open", path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return file_error("stat", path, errno);
  if (info.st_uid != ::geteuid() && info.st_uid != 0) {
    return fail(ErrorKind::permission_denied, path.string() + " belongs to another user");
  }
  if ((info.st_mode & 077U) != 0) {
    return fail(ErrorKind::permission_denied, path.string() + " is open to others than its owner: chmod 600 it");
  }
  return read_open_file(fd, path, max_bytes);
}

Result<void> write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t put = ::write(fd, content.data(), content.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return fail_errno(ErrorKind::internal, "write", errno);
    }
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> sync_fd(int fd) {
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    return fail_errno(ErrorKind::internal, "fsync", errno);
  }
  return {};
}

Result<void> write_file_atomic_at(int directory_fd, const std::string& name, std::string_view content, mode_t mode,
                                  SyncDirectory sync) {
  const std::string temporary = "." + name.substr(0, 200) + "." + random_hex(6) + ".tmp";
  if (auto written = write_new_file(directory_fd, temporary, content, mode); !written) return written;
  if (::renameat(directory_fd, temporary.c_str(), directory_fd, name.c_str()) != 0) {
    const int error_number = errno;
    ::unlinkat(directory_fd, temporary.c_str(), 0);
    return file_error("rename to", name, error_number);
  }
  if (sync == SyncDirectory::now) return sync_fd(directory_fd);
  return {};
}

Result<void> write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  auto directory = open_directory(parent_of(path));
  if (!directory) return std::unexpected(directory.error());
  return write_file_atomic_at(directory->get(), path.filename().string(), content, mode, SyncDirectory::now);
}

Result<void> create_file(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  auto directory = open_directory(parent_of(path));
  if (!directory) return std::unexpected(directory.error());
  // link(2) fails when the target exists, where rename would overwrite; so the file appears whole or not at all.
  const std::string name = path.filename().string();
  const std::string temporary = "." + name.substr(0, 200) + "." + random_hex(6) + ".tmp";
  if (auto written = write_new_file(directory->get(), temporary, content, mode); !written) return written;
  const bool linked = ::linkat(directory->get(), temporary.c_str(), directory->get(), name.c_str(), 0) == 0;
  const int error_number = errno;
  ::unlinkat(directory->get(), temporary.c_str(), 0);
  if (!linked) return file_error("create", path, error_number);
  return sync_fd(directory->get());
}

Result<void> make_dirs(const std::filesystem::path& path, mode_t mode) {
  std::filesystem::path so_far;
  for (const auto& part : path) {
    so_far /= part;
    if (so_far.empty() || so_far == "/") continue;
    if (::mkdir(so_far.c_str(), mode & 0700U) == 0) {
      if (::chmod(so_far.c_str(), mode) != 0) return file_error("chmod", so_far, errno);
      continue;
    }
    if (errno != EEXIST) return file_error("mkdir", so_far, errno);
  }
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return file_error("stat", path, errno);
  if (!S_ISDIR(info.st_mode)) return file_error("mkdir", path, ENOTDIR);
  return {};
}

Result<UniqueFd> open_directory(const std::filesystem::path& path) {
  UniqueFd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return file_error("open", path, errno);
  return fd;
}

Result<std::vector<std::string>> list_directory(int directory_fd, std::size_t max_entries) {
  // A descriptor of its own, because fdopendir takes the position and the ownership.
  UniqueFd fd{::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return fail_errno(ErrorKind::internal, "open directory", errno);
  std::unique_ptr<DIR, DirectoryCloser> directory{::fdopendir(fd.get())};
  if (!directory) return fail_errno(ErrorKind::internal, "fdopendir", errno);
  (void)fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) return fail_errno(ErrorKind::internal, "readdir", errno);
      return names;
    }
    const std::string_view name{static_cast<const char*>(entry->d_name)};
    if (name == "." || name == "..") continue;
    if (names.size() == max_entries) {
      return fail(ErrorKind::too_large, "more than " + std::to_string(max_entries) + " entries in a directory");
    }
    names.emplace_back(name);
  }
}

Result<LockFile> LockFile::acquire(const std::filesystem::path& path) {
  UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return file_error("open", path, errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return file_error("lock", path, errno);
    std::array<char, 32> text{};
    const ssize_t got = ::pread(fd.get(), text.data(), text.size() - 1, 0);
    const long holder = got > 0 ? std::strtol(text.data(), nullptr, 10) : 0;
    return fail(ErrorKind::conflict, path.string() + " is held by process " + std::to_string(holder));
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0) return file_error("truncate", path, errno);
  if (auto written = write_all(fd.get(), pid); !written) return std::unexpected(written.error());
  return LockFile{std::move(fd)};
}

}  // namespace appmesh::platform

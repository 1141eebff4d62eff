#include "platform/file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

#include <sys/file.h>
#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

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
    case ENOSPC:
    case EDQUOT:
      return ErrorKind::insufficient_storage;
    case EROFS:
      return ErrorKind::permission_denied;
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

// A file under a temporary name, removed again unless it was renamed.
class Temporary {
 public:
  Temporary(int directory_fd, const std::string& target)
      : directory_fd_(directory_fd), name_("." + target.substr(0, 200) + "." + random_hex(6) + ".tmp") {}
  Temporary(Temporary&& other) noexcept
      : directory_fd_(other.directory_fd_), name_(std::exchange(other.name_, {})), fd_(std::move(other.fd_)) {}
  Temporary& operator=(Temporary&&) = delete;
  ~Temporary() {
    if (fd_) ::unlinkat(directory_fd_, name_.c_str(), 0);
  }

  // Makes it with exactly `mode` and fills it.
  Result<void> write(std::string_view content, mode_t mode) {
    UniqueFd fd{
        ::openat(directory_fd_, name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode & 0700U)};
    if (!fd) return file_error("create", name_, errno);
    fd_ = std::move(fd);
    if (auto done = write_all(fd_.get(), content); !done) return done;
    // The umask may have taken bits away; more than the owner's are given only now that the content is there.
    if (::fchmod(fd_.get(), mode) != 0) return file_error("chmod", name_, errno);
    return {};
  }
  Result<void> sync() const { return sync_fd(fd_.get()); }

  Result<void> rename_to(const std::string& target) {
    if (::renameat(directory_fd_, name_.c_str(), directory_fd_, target.c_str()) != 0) {
      return file_error("rename to", target, errno);
    }
    fd_.reset();
    return {};
  }
  // Fails when the target exists, where a rename would overwrite.
  Result<void> link_as(const std::string& target) const {
    if (::linkat(directory_fd_, name_.c_str(), directory_fd_, target.c_str(), 0) == 0) return {};
    return file_error("create", target, errno);
  }

 private:
  int directory_fd_;
  std::string name_;
  UniqueFd fd_;
};

constexpr std::size_t kMaxOpenTemporaries = 64;

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
  struct stat info{};
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
      return fail_errno(kind_of(errno), "write", errno);
    }
    content.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<void> sync_fd(int fd) {
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    return fail_errno(kind_of(errno), "fsync", errno);
  }
  return {};
}

std::vector<Result<void>> write_files_atomic_at(int directory_fd, std::span<const NewContent> files, mode_t mode) {
  std::vector<Result<void>> results;
  results.reserve(files.size());
  for (std::size_t from = 0; from < files.size(); from += kMaxOpenTemporaries) {
    const auto chunk = files.subspan(from, std::min(kMaxOpenTemporaries, files.size() - from));
    std::vector<Temporary> temporaries;
    temporaries.reserve(chunk.size());
    for (const auto& file : chunk) {
      auto& temporary = temporaries.emplace_back(directory_fd, file.name);
      results.push_back(temporary.write(file.content, mode));
    }
    // From the last: its transaction of the file system holds the earlier ones, whose own syncs then find nothing to
    // do.
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      if (auto& result = results[from + i]) result = temporaries[i].sync();
    }
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      if (auto& result = results[from + i]) result = temporaries[i].rename_to(chunk[i].name);
    }
  }
  if (const auto synced = sync_fd(directory_fd); !synced) {
    for (auto& result : results) {
      if (result) result = synced;
    }
  }
  return results;
}

Result<void> write_file_atomic(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  auto directory = open_directory(parent_of(path));
  if (!directory) return std::unexpected(directory.error());
  const NewContent file{path.filename().string(), std::string{content}};
  return write_files_atomic_at(directory->get(), {&file, 1}, mode).front();
}

Result<void> create_file(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  auto directory = open_directory(parent_of(path));
  if (!directory) return std::unexpected(directory.error());
  const std::string name = path.filename().string();
  Temporary temporary{directory->get(), name};
  if (auto done = temporary.write(content, mode); !done) return done;
  if (auto done = temporary.sync(); !done) return done;
  if (auto done = temporary.link_as(name); !done) return done;
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

namespace {

using namespace std::chrono_literals;

constexpr auto kLongestDeath = 10s;  // of a holder that was killed: its memory is given back first
constexpr auto kNewHolderWait = 1s;  // the lock is taken, and its pid not written yet
constexpr auto kLockRetry = 5ms;

pid_t holder_of(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  return got > 0 ? static_cast<pid_t>(std::strtol(text.data(), nullptr, 10)) : 0;
}

// Killed, though not gone: a zombie whose threads still end, one that is on its way out, or one with SIGKILL pending.
bool is_dying(pid_t pid) {
  constexpr unsigned kExiting = 0x4;  // PF_EXITING of field 9
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return true;
  char state = 0;
  unsigned flags = 0;
  const auto bracket = stat->rfind(')');
  if (bracket == std::string::npos ||
      std::sscanf(stat->c_str() + bracket + 1, " %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
    return false;
  if (state == 'Z' || state == 'X' || (flags & kExiting) != 0) return true;
  const auto status = read_file(fmt::format("/proc/{}/status", pid), 16384);
  if (!status) return true;
  for (const std::string_view pending : {"\nSigPnd:\t", "\nShdPnd:\t"}) {
    const auto at = status->find(pending);
    if (at == std::string::npos) continue;
    const auto mask = std::strtoull(status->c_str() + at + pending.size(), nullptr, 16);
    if ((mask >> (SIGKILL - 1) & 1) != 0) return true;
  }
  return false;
}

}  // namespace

Result<LockFile> LockFile::acquire(const std::filesystem::path& path) {
  UniqueFd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return file_error("open", path, errno);
  const auto begin = std::chrono::steady_clock::now();
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return file_error("lock", path, errno);
    const pid_t holder = holder_of(fd.get());
    const auto waited = std::chrono::steady_clock::now() - begin;
    const bool gone = holder <= 0 || (::kill(holder, 0) != 0 && errno == ESRCH);
    if (waited > kLongestDeath || (gone ? waited > kNewHolderWait : !is_dying(holder)))
      return fail(ErrorKind::conflict, path.string() + " is held by process " + std::to_string(holder));
    std::this_thread::sleep_for(
        kLockRetry);  // the kernel tells nobody of the end of a lock but who waits without a limit
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd.get(), 0) != 0) return file_error("truncate", path, errno);
  if (auto written = write_all(fd.get(), pid); !written) return std::unexpected(written.error());
  return LockFile{std::move(fd)};
}

}  // namespace appmesh::platform

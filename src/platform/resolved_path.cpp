#include "platform/resolved_path.h"

#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <unistd.h>

#include "platform/file.h"

namespace appmesh::platform {
namespace {

constexpr int kMaxAttempts = 16;  // EAGAIN: a rename raced with the kernel's check

std::string link_of(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

std::unexpected<Error> refused(const std::filesystem::path& path, int error_number) {
  // EXDEV: a way out of the base. ELOOP: a magic link, or symlinks without end. EAGAIN: a race that does not end.
  if (error_number == EXDEV || error_number == ELOOP || error_number == EAGAIN) {
    return fail(ErrorKind::permission_denied, "Invalid file path", path.string() + ": " + std::strerror(error_number));
  }
  return file_error("open", path, error_number);
}

Result<UniqueFd> open_with(const std::filesystem::path& path, const std::filesystem::path& base, int flags) {
  UniqueFd directory;
  std::filesystem::path relative = path;
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_PATH | O_CLOEXEC);
  how.resolve = RESOLVE_NO_MAGICLINKS;
  if (!base.empty()) {
    directory.reset(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return file_error("open", base, errno);
    relative = path.lexically_relative(base);
    if (relative.empty()) return fail(ErrorKind::permission_denied, "Invalid file path");
    how.resolve |= RESOLVE_BENEATH;
  }
  for (int attempt = 1;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, directory ? directory.get() : AT_FDCWD, relative.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && (errno != EAGAIN || attempt == kMaxAttempts)) return refused(path, errno);
  }
}

}  // namespace

Result<UniqueFd> open_path(const std::filesystem::path& path, const std::filesystem::path& base) {
  return open_with(path, base, 0);
}

Result<UniqueFd> open_path_directory(const std::filesystem::path& path, const std::filesystem::path& base) {
  return open_with(path, base, O_DIRECTORY);
}

Result<std::filesystem::path> real_path(int fd) {
  std::array<char, PATH_MAX + 16> text{};
  const ssize_t length = ::readlink(link_of(fd).c_str(), text.data(), text.size());
  if (length < 0) return file_error("readlink", link_of(fd), errno);
  const std::string_view path(text.data(), static_cast<std::size_t>(length));
  struct stat info{};
  if (::fstat(fd, &info) != 0) return file_error("stat", path, errno);
  // The kernel appends " (deleted)" then, which a living file's name may end with too.
  if (info.st_nlink == 0) return file_error("open", path, ENOENT);
  // A mount that this process cannot see has no path here.
  if (!path.starts_with('/')) return fail(ErrorKind::permission_denied, "Invalid file path", std::string(path));
  return std::filesystem::path(path);
}

Result<UniqueFd> reopen(int fd, int flags) {
  UniqueFd opened(::open(link_of(fd).c_str(), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!opened) return file_error("open", link_of(fd), errno);
  return opened;
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory) {
  const std::string& inner = path.native();
  const std::string& outer = directory.native();
  if (outer == "/") return true;
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '/');
}

}  // namespace appmesh::platform

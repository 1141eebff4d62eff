#include "platform/inotify.h"

#include <cerrno>
#include <cstring>

#include <sys/inotify.h>

#include "platform/file.h"

namespace appmesh::platform {

bool InotifyEvent::overflow() const {
  return (mask & IN_Q_OVERFLOW) != 0;
}

bool InotifyEvents::next(InotifyEvent& event) {
  inotify_event header{};
  if (rest_.size() < sizeof header) return false;
  std::memcpy(&header, rest_.data(), sizeof header);  // the caller's buffer need not be aligned
  const std::size_t size = sizeof header + header.len;
  if (rest_.size() < size) return false;
  const char* name = reinterpret_cast<const char*>(rest_.data()) + sizeof header;
  event = {.watch = header.wd, .mask = header.mask, .name = {name, ::strnlen(name, header.len)}};
  rest_ = rest_.subspan(size);
  return true;
}

Result<Inotify> Inotify::create() {
  UniqueFd fd{::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
  if (!fd) return fail_errno(ErrorKind::internal, "inotify_init1", errno);
  return Inotify{std::move(fd)};
}

Result<int> Inotify::add_watch(const std::filesystem::path& path, std::uint32_t mask) {
  const int watch = ::inotify_add_watch(fd_.get(), path.c_str(), mask);
  if (watch >= 0) return watch;
  if (errno == ENOSPC) {
    return fail(ErrorKind::too_large, "watch " + path.string() + ": the limit fs.inotify.max_user_watches is reached");
  }
  return file_error("watch", path, errno);
}

Result<void> Inotify::remove_watch(int watch) {
  if (::inotify_rm_watch(fd_.get(), watch) == 0 || errno == EINVAL) return {};
  return fail_errno(ErrorKind::internal, "inotify_rm_watch", errno);
}

Result<InotifyEvents> Inotify::read(std::span<std::byte> buffer) {
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got >= 0) return InotifyEvents{buffer.first(static_cast<std::size_t>(got))};
    if (errno == EAGAIN) return InotifyEvents{{}};
    if (errno != EINTR) return fail_errno(ErrorKind::internal, "read inotify", errno);
  }
}

}  // namespace appmesh::platform

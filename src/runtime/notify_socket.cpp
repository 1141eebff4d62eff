#include "runtime/notify_socket.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <unistd.h>

#include "core/text.h"

namespace appmesh::runtime {

namespace {

// Text of a stranger that ends in JSON and on terminals: what is no printable UTF-8 becomes '?'.
std::string clean_status(std::string_view text) {
  text = text.substr(0, kMaxStatusBytes);
  std::string clean(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  for (int cut = 0; cut < 3 && text.size() == kMaxStatusBytes && !core::is_utf8(clean); ++cut) clean.pop_back();
  if (core::is_utf8(clean)) return clean;
  for (char& c : clean)
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  return clean;
}

std::optional<ReceivedNotification> receive(int socket, int flags) {
  std::array<char, kMaxNotificationBytes + 1> text;
  iovec part{text.data(), text.size()};
  // Room for the credentials alone when peeking: descriptors are taken with the message or not at all.
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do got = ::recvmsg(socket, &message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return std::nullopt;
  ReceivedNotification received;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_CREDENTIALS) continue;
    ucred sender{};
    std::memcpy(&sender, CMSG_DATA(item), sizeof sender);
    received.pid = sender.pid;
    received.uid = sender.uid;
  }
  const bool whole = static_cast<std::size_t>(got) <= kMaxNotificationBytes;
  if (whole) received.what = parse_notification({text.data(), static_cast<std::size_t>(got)});
  return received;
}

}  // namespace

Result<NotifySocket> open_notify_socket(const std::filesystem::path& directory, const std::string& name, uid_t uid,
                                        gid_t gid) {
  NotifySocket socket;
  socket.descriptor.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.descriptor) return fail_errno(ErrorKind::internal, "notify socket", errno);
  const int on = 1;
  if (::setsockopt(socket.descriptor.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
    return fail_errno(ErrorKind::internal, "notify socket", errno);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  const std::string path = (directory / name).string();
  const bool is_file = path.size() < sizeof address.sun_path;
  socket.address = is_file ? path : "@appmesh-" + name;
  std::memcpy(address.sun_path, socket.address.data(), socket.address.size());
  if (!is_file) address.sun_path[0] = 0;
  if (is_file) ::unlink(path.c_str());
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket.address.size() + (is_file ? 1 : 0));
  if (::bind(socket.descriptor.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0)
    return fail_errno(ErrorKind::internal, "notify socket " + socket.address, errno);
  if (is_file && (::chmod(path.c_str(), 0600) != 0 || ::lchown(path.c_str(), uid, gid) != 0))
    return fail_errno(ErrorKind::internal, "notify socket " + socket.address, errno);
  return socket;
}

Notification parse_notification(std::string_view message) {
  Notification what;
  while (!message.empty()) {
    const auto end = message.find('\n');
    const std::string_view line = message.substr(0, end);
    message = end == std::string_view::npos ? std::string_view{} : message.substr(end + 1);
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = line.substr(0, equals);
    const std::string_view value = line.substr(equals + 1);
    if (name == "READY" && value == "1") what.ready = true;
    if (name == "STOPPING" && value == "1") what.stopping = true;
    if (name == "WATCHDOG" && value == "1") what.watchdog = true;
    if (name == "WATCHDOG" && value == "trigger") what.trigger = true;
    if (name == "BARRIER" && value == "1") what.barrier = true;
    if (name == "STATUS") what.status = clean_status(value);
    if (name == "MAINPID") {
      std::int32_t pid = 0;
      const auto [last, error] = std::from_chars(value.data(), value.data() + value.size(), pid);
      if (error == std::errc{} && last == value.data() + value.size() && pid > 1) what.main_pid = pid;
    }
  }
  return what;
}

std::optional<ReceivedNotification> peek_notification(int socket) {
  return receive(socket, MSG_PEEK);
}

void drop_notification(int socket) {
  [[maybe_unused]] const auto dropped = receive(socket, 0);
}

}  // namespace appmesh::runtime

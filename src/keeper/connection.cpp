#include "keeper/connection.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fcntl.h>

#include "keeper/log.h"

namespace appmesh::keeper {

int listen_in(int directory, Descriptor& listener) {
  Descriptor socket{::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (!socket) return errno;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  // Through /proc, because a home may be deeper than the 108 bytes of sun_path.
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, kSocketName);
  if (::unlinkat(directory, kSocketName, 0) != 0 && errno != ENOENT) return errno;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return errno;
  if (::fchmodat(directory, kSocketName, 0600, 0) != 0) return errno;
  if (::listen(socket.get(), 8) != 0) return errno;
  listener = static_cast<Descriptor&&>(socket);
  return 0;
}

Descriptor accept_peer(const Descriptor& listener) {
  Descriptor peer{::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
  if (!peer) return {};
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return {};
  if (credentials.uid != ::geteuid()) {
    log("refused a connection from uid %u (pid %d)", credentials.uid, credentials.pid);
    return {};
  }
  return peer;
}

Inbox::Received Inbox::receive(int socket) {
  close_descriptors();
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof descriptors_)];
  iovec part{.iov_base = bytes_, .iov_len = sizeof bytes_};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
  if (size < 0) return errno == EAGAIN || errno == EINTR ? Received::nothing : Received::closed;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(descriptors_ + descriptor_count_, CMSG_DATA(header), count * sizeof(int));
    descriptor_count_ += count;
  }
  too_many_descriptors_ = (message.msg_flags & MSG_CTRUNC) != 0;
  size_ = static_cast<std::size_t>(size);
  return size == 0 ? Received::closed : Received::message;
}

void Inbox::close_descriptors() {
  for (std::size_t i = 0; i < descriptor_count_; ++i) Descriptor{descriptors_[i]}.reset();
  descriptor_count_ = 0;
}

namespace {

bool send_message(int socket, const void* bytes, std::size_t size, const int* descriptors, std::size_t count) {
  if (count == 0) return ::send(socket, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxKept)] = {};
  iovec part{.iov_base = const_cast<void*>(bytes), .iov_len = size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * count);
  std::memcpy(CMSG_DATA(header), descriptors, sizeof(int) * count);
  return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

bool has_no_room() {
  return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS;
}

}  // namespace

bool Outbox::send(int socket, const void* message, std::size_t size, const int* descriptors,
                  std::size_t descriptor_count) {
  if (send_message(socket, message, size, descriptors, descriptor_count)) return true;
  if (!has_no_room()) return false;
  std::memcpy(bytes_, message, size);
  size_ = size;
  if (descriptor_count > 0) std::memcpy(descriptors_, descriptors, descriptor_count * sizeof(int));
  descriptor_count_ = descriptor_count;
  return true;
}

bool Outbox::flush(int socket) {
  if (size_ == 0) return true;
  const std::size_t size = size_;
  size_ = 0;
  if (send_message(socket, bytes_, size, descriptors_, descriptor_count_)) return true;
  return errno == EAGAIN && (size_ = size) != 0;
}

}  // namespace appmesh::keeper

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

bool Outbox::send(int socket, const void* message, std::size_t size) {
  if (::send(socket, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return true;
  if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM) return false;
  std::memcpy(bytes_, message, size);
  size_ = size;
  return true;
}

bool Outbox::flush(int socket) {
  if (size_ == 0) return true;
  const std::size_t size = size_;
  size_ = 0;
  return ::send(socket, bytes_, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || (errno == EAGAIN && (size_ = size) != 0);
}

}  // namespace appmesh::keeper

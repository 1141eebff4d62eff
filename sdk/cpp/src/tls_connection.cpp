#include "tls_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <appmesh/error.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <unistd.h>

namespace appmesh::tls {
namespace {

constexpr std::size_t kReceiveBytes = 32 * 1024;

void wait_for(int descriptor, short events, Deadline deadline, int cancel) {
  std::array<pollfd, 2> set{pollfd{descriptor, events, 0}, pollfd{cancel, POLLIN, 0}};
  for (;;) {
    int milliseconds = -1;
    if (deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
      milliseconds = static_cast<int>(std::clamp<long long>(left, 0, INT_MAX));
    }
    const int ready = ::poll(set.data(), cancel >= 0 ? 2 : 1, milliseconds);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) throw ClientError(ErrorKind::kConnect, std::string("poll: ") + std::strerror(errno));
    if (cancel >= 0 && set[1].revents != 0) throw ClientError(ErrorKind::kCancelled, "cancelled");
    if (ready == 0) throw ClientError(ErrorKind::kTimeout, "no answer in time");
    return;
  }
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return ::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1;
}

std::string openssl_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown reason" : reason;
}

}  // namespace

// OpenSSL's own socket BIO writes with write(), which raises SIGPIPE; a library may not change the program's signals.
int Connection::bio_write(BIO* bio, const char* data, int length) {
  const auto& source = *static_cast<const Source*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const ssize_t count = ::send(source.descriptor, data, static_cast<std::size_t>(length), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(count);
}

int Connection::bio_read(BIO* bio, char* data, int length) {
  auto& source = *static_cast<Source*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (source.shared) {
    const std::size_t count = std::min(source.end - source.begin, static_cast<std::size_t>(length));
    std::memcpy(data, source.received.data() + source.begin, count);
    source.begin += count;
    if (count > 0) return static_cast<int>(count);
    if (source.ended) {
      BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
      return 0;
    }
    BIO_set_retry_read(bio);
    return -1;
  }
  const ssize_t count = ::recv(source.descriptor, data, static_cast<std::size_t>(length), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(count);
}

const BIO_METHOD* Connection::bio_method() {
  static BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "appmesh socket");
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_ctrl(method, bio_control);
    return method;
  }();
  return kMethod;
}

Connection::Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Connection::Connection(const Url& url, SSL_CTX* context, bool verify, Deadline deadline, int cancel)
    : socket_(dial(url, deadline, cancel)), ssl_(SSL_new(context)) {
  BIO* bio = ssl_ ? BIO_new(bio_method()) : nullptr;
  if (bio == nullptr) throw ClientError(ErrorKind::kTls, "TLS: " + openssl_reason());
  source_.descriptor = socket_.get();
  BIO_set_data(bio, &source_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  if (!is_address(url.host)) SSL_set_tlsext_host_name(ssl_.get(), url.host.c_str());
  if (verify) {
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl_.get());
    const bool set = is_address(url.host) ? X509_VERIFY_PARAM_set1_ip_asc(parameters, url.host.c_str()) == 1
                                          : X509_VERIFY_PARAM_set1_host(parameters, url.host.c_str(), 0) == 1;
    if (!set) throw ClientError(ErrorKind::kTls, "the host name '" + url.host + "' cannot be verified");
    SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
  }
  handshake(url, deadline, cancel);
}

Connection::~Connection() {
  if (ssl_) {
    ERR_clear_error();
    // A courtesy to the peer; nobody waits for its own close_notify.
    if (SSL_is_init_finished(ssl_.get())) SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }
}

Connection::Socket Connection::dial(const Url& url, Deadline deadline, int cancel) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int status = ::getaddrinfo(url.host.c_str(), std::to_string(url.port).c_str(), &hints, &list);
  if (status != 0) {
    throw ClientError(ErrorKind::kConnect, "cannot find host " + url.host + ": " + ::gai_strerror(status));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);
  std::string reason = "no address";
  for (const addrinfo* address = list; address != nullptr; address = address->ai_next) {
    Socket socket(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol));
    if (socket.get() < 0) {
      reason = std::strerror(errno);
      continue;
    }
    int error = ::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      try {
        wait_for(socket.get(), POLLOUT, deadline, cancel);
      } catch (const ClientError& failure) {
        if (failure.kind() != ErrorKind::kTimeout) throw;
        throw ClientError(ErrorKind::kConnect, "cannot connect to " + url.authority() + ": no answer in time");
      }
      socklen_t size = sizeof error;
      ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) {
      // Keep-alive notices a host that vanished while we wait for a slow answer, without inventing a time-out.
      const int on = 1, idle = 30, interval = 10, count = 3;
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
      ::setsockopt(socket.get(), IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
      return socket;
    }
    reason = std::strerror(error);
  }
  throw ClientError(ErrorKind::kConnect, "cannot connect to " + url.authority() + ": " + reason);
}

void Connection::handshake(const Url& url, Deadline deadline, int cancel) {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(ssl_.get());
    if (result == 1) return;
    const long verified = SSL_get_verify_result(ssl_.get());
    const int error = SSL_get_error(ssl_.get(), result);
    if (error == SSL_ERROR_SSL && verified != X509_V_OK && SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
      ERR_clear_error();
      throw ClientError(ErrorKind::kTls, "the certificate of " + url.authority() +
                                             " is not trusted: " + X509_verify_cert_error_string(verified));
    }
    if (error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_last_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING) {
      throw ClientError(ErrorKind::kTls, "TLS handshake with " + url.authority() + " failed: " + openssl_reason());
    }
    std::string why = "closed";
    try {
      if (after(result, deadline, cancel)) continue;
    } catch (const ClientError& failure) {
      if (failure.kind() != ErrorKind::kTimeout && failure.kind() != ErrorKind::kClosed) throw;
      why = failure.what();
    }
    // Nothing was asked yet, so this is a connection that could not be made, not one that broke.
    throw ClientError(ErrorKind::kConnect, "cannot connect to " + url.authority() + ": no TLS handshake: " + why);
  }
}

bool Connection::after(int result, Deadline deadline, int cancel) {
  const short events = events_after(result);
  if (events == 0) return false;
  wait_for(socket_.get(), events, deadline, cancel);
  return true;
}

short Connection::events_after(int result) {
  const int saved = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return POLLIN;
    case SSL_ERROR_WANT_WRITE:
      return POLLOUT;
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_SYSCALL:
      ERR_clear_error();
      throw ClientError(ErrorKind::kClosed,
                        std::string("the connection broke: ") + (saved == 0 ? "closed" : std::strerror(saved)));
    default:
      // An end of file without close_notify can be forged: it is never taken for the end of an answer.
      if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        throw ClientError(ErrorKind::kClosed, "the server closed the connection in the middle");
      }
      throw ClientError(ErrorKind::kTls, "TLS: " + openssl_reason());
  }
}

int Connection::read_once(std::span<char> buffer, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  return SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &count);
}

int Connection::write_once(std::string_view data, std::size_t& count) {
  ERR_clear_error();
  errno = 0;
  return SSL_write_ex(ssl_.get(), data.data(), data.size(), &count);
}

void Connection::write(std::string_view data, Deadline deadline, int cancel) {
  while (!data.empty()) {
    std::size_t count = 0;
    const int result = write_once(data, count);
    if (result == 1) {
      data.remove_prefix(count);
    } else if (!after(result, deadline, cancel)) {
      throw ClientError(ErrorKind::kClosed, "the server closed the connection");
    }
  }
}

std::size_t Connection::read(std::span<char> buffer, Deadline deadline, int cancel) {
  for (;;) {
    std::size_t count = 0;
    const int result = read_once(buffer, count);
    if (result == 1) return count;
    if (!after(result, deadline, cancel)) return 0;
  }
}

void Connection::write_shared(std::string_view data, std::mutex& state, Deadline deadline, int cancel) {
  while (!data.empty()) {
    std::unique_lock lock(state);
    std::size_t count = 0;
    const int result = write_once(data, count);
    if (result == 1) {
      data.remove_prefix(count);
      continue;
    }
    const short events = events_after(result);
    lock.unlock();
    if (events == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
    wait_for(socket_.get(), events, deadline, cancel);
  }
}

std::size_t Connection::read_shared(std::span<char> buffer, std::mutex& state, Deadline deadline, int cancel) {
  for (;;) {
    std::unique_lock lock(state);
    std::size_t count = 0;
    const int result = read_once(buffer, count);
    if (result == 1) return count;
    const short events = events_after(result);
    lock.unlock();
    if (events == 0) return 0;
    if (events == POLLIN) {
      receive(state, deadline, cancel);
    } else {
      wait_for(socket_.get(), events, deadline, cancel);
    }
  }
}

void Connection::share() {
  SSL_set_read_ahead(ssl_.get(), 1);
  source_.received.resize(kReceiveBytes);
  source_.shared = true;
  // A read may wait in the system call; everything else says MSG_DONTWAIT.
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket_.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) {
    throw ClientError(ErrorKind::kConnect, std::string("fcntl: ") + std::strerror(errno));
  }
}

// OpenSSL has taken everything, so that nobody looks into the buffer until it is said that there is something.
void Connection::receive(std::mutex& state, Deadline deadline, int cancel) {
  ssize_t count = -1;
  for (;;) {
    const bool may_wait = !deadline && cancel < 0;
    if (!may_wait) wait_for(socket_.get(), POLLIN, deadline, cancel);
    count = ::recv(socket_.get(), source_.received.data(), source_.received.size(), may_wait ? 0 : MSG_DONTWAIT);
    if (count >= 0) break;
    if (errno != EINTR && errno != EAGAIN) {
      throw ClientError(ErrorKind::kClosed, std::string("the connection broke: ") + std::strerror(errno));
    }
  }
  const std::lock_guard lock(state);
  source_.begin = 0;
  source_.end = static_cast<std::size_t>(count);
  source_.ended = count == 0;
}

bool Connection::hung_up() const {
  pollfd set{socket_.get(), POLLIN | POLLRDHUP, 0};
  return ::poll(&set, 1, 0) > 0 && (set.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Connection::hang_up() const {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

std::optional<std::size_t> Connection::try_read(std::span<char> buffer) {
  std::size_t count = 0;
  const int result = read_once(buffer, count);
  if (result == 1) return count;
  if (events_after(result) == 0) return 0;
  return std::nullopt;
}

bool Connection::quiet() const {
  pollfd set{socket_.get(), POLLIN, 0};
  if (::poll(&set, 1, 0) == 0) return true;
  // TLS 1.3 tickets may lie there unread: only an application byte, an alert or the end makes the connection unusable.
  char byte = 0;
  std::size_t count = 0;
  ERR_clear_error();
  const int result = SSL_peek_ex(ssl_.get(), &byte, 1, &count);
  const bool idle = result != 1 && SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
  ERR_clear_error();
  return idle;
}

}  // namespace appmesh::tls

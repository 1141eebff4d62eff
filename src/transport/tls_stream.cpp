#include "transport/tls_stream.h"

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>

namespace appmesh::transport {

namespace asio = boost::asio;

Result<TlsStream> TlsStream::make(asio::io_context& context, platform::UniqueFd fd, const TlsContext& tls) {
  ERR_clear_error();
  std::unique_ptr<SSL, Free> ssl(SSL_new(tls.native()));
  if (!ssl || SSL_set_fd(ssl.get(), fd.get()) != 1) {
    return fail(ErrorKind::internal, "TLS connection: " + take_tls_error());
  }
  asio::ip::tcp::socket socket(context);
  boost::system::error_code error;
  // The family only matters for calls that we do not make (bind, connect).
  socket.assign(asio::ip::tcp::v4(), fd.get(), error);
  if (error) return fail(ErrorKind::internal, "TLS connection: " + error.message());
  static_cast<void>(fd.release());
  SSL_set_accept_state(ssl.get());
  return TlsStream(std::move(socket), ssl.release());
}

Result<TlsStream> TlsStream::make_client(asio::io_context& context, platform::UniqueFd fd, const TlsContext& tls,
                                         const std::string& host, std::shared_ptr<TlsSessionSlot> sessions) {
  auto stream = make(context, std::move(fd), tls);
  if (!stream) return stream;
  SSL* const ssl = stream->ssl_.get();
  SSL_set_connect_state(ssl);
  X509_VERIFY_PARAM* const checks = SSL_get0_param(ssl);
  // RFC 6066 section 3: an address is no server name. What is no address here is a name.
  const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(checks, host.c_str()) == 1;
  const bool set = is_address || (SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 &&
                                  X509_VERIFY_PARAM_set1_host(checks, host.c_str(), host.size()) == 1);
  if (!set) return fail(ErrorKind::internal, "TLS connection: " + take_tls_error());
  ERR_clear_error();
  if (sessions->session) SSL_set_session(ssl, sessions->session.get());
  SSL_set_app_data(ssl, sessions.get());
  stream->sessions_ = std::move(sessions);
  return stream;
}

std::string TlsStream::handshake_problem() const {
  std::string reason = take_tls_error();
  const long verdict = SSL_get_verify_result(ssl_.get());
  if (verdict != X509_V_OK) reason.append(": ").append(X509_verify_cert_error_string(verdict));
  return reason;
}

TlsStream::Outcome TlsStream::outcome_of(int result, std::size_t bytes) {
  if (result > 0) return {State::done, bytes};
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return {State::want_read};
    case SSL_ERROR_WANT_WRITE:
      return {State::want_write};
    case SSL_ERROR_ZERO_RETURN:
      return {State::closed};
    default:
      broken_ = true;
      problem_ = ERR_peek_error();
      return {State::failed};
  }
}

asio::awaitable<Result<void>> TlsStream::handshake() {
  for (;;) {
    if (!is_open()) co_return fail(ErrorKind::unavailable, "closed");
    ERR_clear_error();
    const Outcome outcome = outcome_of(SSL_do_handshake(ssl_.get()), 0);
    switch (outcome.state) {
      case State::done:
        co_return Result<void>();
      case State::closed:
        co_return fail(ErrorKind::unavailable, "closed by the peer");
      case State::failed:
        co_return fail(ErrorKind::unauthenticated, handshake_problem());
      default:
        break;
    }
    const bool ready = co_await wait(outcome.state);
    if (!ready) co_return fail(ErrorKind::unavailable, "closed");
  }
}

std::string TlsStream::problem() const {
  const char* const reason = problem_ == 0 ? nullptr : ERR_reason_error_string(problem_);
  return reason == nullptr ? std::string() : std::string(reason);
}

TlsStream::Outcome TlsStream::try_read(std::span<char> buffer) {
  if (!is_open()) return {State::closed};
  ERR_clear_error();
  std::size_t bytes = 0;
  const int result = SSL_read_ex(ssl_.get(), buffer.data(), buffer.size(), &bytes);
  return outcome_of(result, bytes);
}

TlsStream::Outcome TlsStream::try_write(std::string_view data) {
  if (!is_open()) return {State::closed};
  ERR_clear_error();
  std::size_t bytes = 0;
  const int result = SSL_write_ex(ssl_.get(), data.data(), data.size(), &bytes);
  return outcome_of(result, bytes);
}

asio::awaitable<bool> TlsStream::wait(State state) {
  if (!is_open()) co_return false;
  boost::system::error_code error;
  const auto direction =
      state == State::want_write ? asio::ip::tcp::socket::wait_write : asio::ip::tcp::socket::wait_read;
  co_await socket_.async_wait(direction, asio::redirect_error(asio::use_awaitable, error));
  co_return !error && is_open();
}

asio::awaitable<TlsStream::Outcome> TlsStream::read_some(std::span<char> buffer) {
  for (;;) {
    const Outcome outcome = try_read(buffer);
    if (outcome.state != State::want_read && outcome.state != State::want_write) co_return outcome;
    const bool ready = co_await wait(outcome.state);
    if (!ready) co_return Outcome{State::closed};
  }
}

asio::awaitable<bool> TlsStream::write(std::string_view data) {
  while (!data.empty()) {
    const Outcome outcome = try_write(data);
    switch (outcome.state) {
      case State::done:
        data.remove_prefix(outcome.bytes);
        continue;
      case State::want_read:
      case State::want_write:
        break;
      default:
        co_return false;
    }
    const bool ready = co_await wait(outcome.state);
    if (!ready) co_return false;
  }
  co_return true;
}

bool TlsStream::is_quiet() {
  if (!socket_.is_open() || broken_ || has_pending()) return false;
  char byte = 0;
  return ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK);
}

void TlsStream::send_close_notify() {
  if (!is_open() || broken_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
}

void TlsStream::cork(bool corked) {
  const int value = corked ? 1 : 0;
  if (is_open()) ::setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_CORK, &value, sizeof value);
}

void TlsStream::shut_down_sending() {
  if (is_open()) ::shutdown(socket_.native_handle(), SHUT_WR);
}

asio::awaitable<void> TlsStream::drain(std::span<char> scratch) {
  // A wait after each burst lets the other connections of this thread have their turn.
  constexpr int kReadsPerTurn = 16;
  while (is_open()) {
    for (int i = 0; i < kReadsPerTurn; ++i) {
      const ssize_t count = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT);
      if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) co_return;
      if (count < 0 && errno == EAGAIN) break;
    }
    const bool ready = co_await wait(State::want_read);
    if (!ready) co_return;
  }
}

// A close_notify may lie unread before the end, so the bytes themselves do not tell.
bool TlsStream::peer_has_left() {
  if (!is_open()) return true;
  pollfd descriptor{.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
  return ::poll(&descriptor, 1, 0) > 0 && (descriptor.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void TlsStream::cancel_wait() {
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void TlsStream::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace appmesh::transport

#include "transport/tls_stream.h"

#include <cerrno>

#include <sys/socket.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <openssl/err.h>
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
  return TlsStream(std::move(socket), ssl.release());
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
      return {State::failed};
  }
}

asio::awaitable<Result<void>> TlsStream::handshake() {
  for (;;) {
    if (!is_open()) co_return fail(ErrorKind::unavailable, "closed");
    ERR_clear_error();
    const Outcome outcome = outcome_of(SSL_accept(ssl_.get()), 0);
    switch (outcome.state) {
      case State::done:
        co_return Result<void>();
      case State::closed:
        co_return fail(ErrorKind::unavailable, "closed by the peer");
      case State::failed:
        co_return fail(ErrorKind::unauthenticated, take_tls_error());
      default:
        break;
    }
    const bool ready = co_await wait(outcome.state);
    if (!ready) co_return fail(ErrorKind::unavailable, "closed");
  }
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

void TlsStream::send_close_notify() {
  if (!is_open() || broken_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
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

void TlsStream::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

}  // namespace appmesh::transport

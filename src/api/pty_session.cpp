#include "api/pty_session.h"

#include <cerrno>
#include <utility>

#include <appmesh/wire/json_text.h>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "platform/terminal.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

constexpr std::int64_t kMaxSide = 10'000;  // rows or columns

std::optional<std::uint16_t> side(const boost::json::object& size, std::string_view name) {
  const auto* value = size.if_contains(name);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  const std::int64_t number = value->get_int64();
  if (number < 1 || number > kMaxSide) return std::nullopt;
  return static_cast<std::uint16_t>(number);
}

}  // namespace

PtySession::PtySession(asio::any_io_executor executor, Left left)
    : executor_(std::move(executor)), left_(std::move(left)), master_(executor_), buffer_{} {}

PtySession::~PtySession() = default;

void PtySession::open(platform::UniqueFd master) {
  master_.assign(master.release());
}

void PtySession::finish(std::string last_text) {
  if (std::exchange(finished_, true)) return;
  last_text_ = std::move(last_text);
  wake();
}

void PtySession::wake() {
  boost::system::error_code ignored;
  if (master_.is_open()) master_.cancel(ignored);
  if (waiter_) std::exchange(waiter_, nullptr)();
}

asio::awaitable<void> PtySession::wait_for_end() {
  return asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [this](auto handler) {
        auto executor = asio::get_associated_executor(handler);
        waiter_ = [executor, handler = std::move(handler)]() mutable { asio::post(executor, std::move(handler)); };
      },
      asio::use_awaitable);
}

asio::awaitable<std::optional<SocketMessage>> PtySession::next() {
  for (;;) {
    if (ended_) co_return std::nullopt;
    if (!texts_.empty()) {
      SocketMessage message{.is_text = true, .data = std::move(texts_.front())};
      texts_.pop_front();
      co_return message;
    }
    const ssize_t count = ::read(master_.native_handle(), buffer_.data(), buffer_.size());
    if (count > 0) co_return SocketMessage{.is_text = false, .data = {buffer_.data(), static_cast<std::size_t>(count)}};
    if (count < 0 && errno == EINTR) continue;
    const bool has_more_to_come = count < 0 && errno == EAGAIN;
    if (finished_) {
      if (!last_text_) co_return std::nullopt;
      co_return SocketMessage{.is_text = true, .data = *std::exchange(last_text_, std::nullopt)};
    }
    if (has_more_to_come) {
      boost::system::error_code cancelled;
      co_await master_.async_wait(Descriptor::wait_read, asio::redirect_error(asio::use_awaitable, cancelled));
    } else {  // every process has closed the terminal (EIO): the end of the run is near
      co_await wait_for_end();
    }
  }
}

asio::awaitable<Result<void>> PtySession::take(SocketMessage message) {
  if (message.is_text) co_return control(message.data);
  std::string_view left = message.data;
  while (!left.empty() && !ended_ && !finished_) {
    const ssize_t count = ::write(master_.native_handle(), left.data(), left.size());
    if (count > 0) {
      left.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count == 0 || errno != EAGAIN) break;  // nobody is there to read it
    boost::system::error_code cancelled;
    co_await master_.async_wait(Descriptor::wait_write, asio::redirect_error(asio::use_awaitable, cancelled));
  }
  co_return Result<void>();
}

Result<void> PtySession::control(const std::string& text) {
  boost::system::error_code malformed;
  const boost::json::value value = wire::read_json(text, malformed);
  const auto* resize = malformed || !value.is_object() ? nullptr : value.get_object().if_contains("resize");
  if (resize == nullptr || !resize->is_object())
    return fail(ErrorKind::invalid_argument, "the only text message is {\"resize\":{\"rows\":R,\"columns\":C}}");
  const auto rows = side(resize->get_object(), "rows");
  const auto columns = side(resize->get_object(), "columns");
  if (!rows || !columns) return fail(ErrorKind::invalid_argument, "rows and columns must be 1..10000");
  // A terminal that is just being closed has no size any more, and nobody who would miss it.
  static_cast<void>(platform::resize_terminal(master_.native_handle(), {*rows, *columns}));
  return {};
}

void PtySession::end(SocketEnd why) {
  if (std::exchange(ended_, true)) return;
  if (!finished_) {
    // As when a line is hung up: a shell hands it on to its jobs. The session lives as long as it has a terminal.
    const pid_t session = why != SocketEnd::by_daemon && master_.is_open() ? ::tcgetsid(master_.native_handle()) : -1;
    if (session > 1) ::kill(session, SIGHUP);
    left_(why);
  }
  wake();
}

}  // namespace appmesh::api

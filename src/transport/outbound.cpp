#include "transport/outbound.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;
using Clock = Deadline::Clock;
using Endpoints = std::vector<asio::ip::tcp::endpoint>;

// A peer whose host has vanished is noticed after about two minutes, however long an answer may take.
constexpr int kKeepAliveIdleSeconds = 60;
constexpr int kKeepAliveIntervalSeconds = 15;
constexpr int kKeepAliveProbes = 4;

std::chrono::milliseconds left_until(Clock::time_point limit) {
  return std::max(std::chrono::duration_cast<std::chrono::milliseconds>(limit - Clock::now()),
                  std::chrono::milliseconds(1));
}

std::unexpected<Error> gateway_error(std::string_view step, std::string_view reason) {
  return fail(ErrorKind::bad_gateway, std::string(step) + ": " + std::string(reason));
}

// A look-up cannot be taken back from the resolver's own thread, but nobody has to wait for it: whichever of answer and
// time limit comes first ends it.
struct LookUp {
  explicit LookUp(IoThread& thread)
      : resolver(thread.context()),
        limit(thread.deadlines(), [this] { end(gateway_error("look-up of the name", "timed out")); }) {}

  void end(Result<Endpoints> result) {
    limit.clear();
    if (auto handler = std::exchange(done, nullptr)) handler(std::move(result));
  }

  asio::ip::tcp::resolver resolver;
  Deadline limit;
  std::move_only_function<void(Result<Endpoints>)> done;
};

asio::awaitable<Result<Endpoints>> look_up(IoThread& thread, const std::string& host, std::uint16_t port,
                                           Clock::time_point until) {
  boost::system::error_code no_address;
  const auto address = asio::ip::make_address(host, no_address);
  if (!no_address) co_return Endpoints{{address, port}};

  auto initiate = [&](auto handler) {
    auto executor = asio::get_associated_executor(handler);
    auto state = std::make_shared<LookUp>(thread);
    state->done = [handler = std::move(handler), executor](Result<Endpoints> result) mutable {
      asio::post(executor, [handler = std::move(handler), result = std::move(result)]() mutable {
        std::move(handler)(std::move(result));
      });
    };
    state->limit.set(left_until(until));
    state->resolver.async_resolve(
        host, std::to_string(port), asio::ip::tcp::resolver::numeric_service,
        [state](const boost::system::error_code& error, const asio::ip::tcp::resolver::results_type& results) {
          if (error) return state->end(gateway_error("look-up of the name", error.message()));
          Endpoints found;
          for (const auto& each : results) {
            if (found.size() < Outbound::kMaxAddresses) found.push_back(each.endpoint());
          }
          state->end(std::move(found));
        });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Result<Endpoints>)>(initiate,
                                                                                                  asio::use_awaitable);
}

void set_options(int fd) {
  const auto set = [fd](int level, int name, int value) { ::setsockopt(fd, level, name, &value, sizeof value); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveIntervalSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

asio::awaitable<Result<platform::UniqueFd>> connect_to(IoThread& thread, asio::ip::tcp::endpoint endpoint,
                                                       Clock::time_point until) {
  const auto failed = [](int error) { return gateway_error("connect", std::system_category().message(error)); };
  platform::UniqueFd fd(::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) co_return failed(errno);
  set_options(fd.get());
  if (::connect(fd.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) == 0) co_return fd;
  if (errno != EINPROGRESS) co_return failed(errno);

  asio::posix::stream_descriptor waiter(thread.context(), fd.get());
  static_cast<void>(fd.release());
  bool late = false;
  Deadline limit(thread.deadlines(), [&] {
    late = true;
    waiter.cancel();
  });
  limit.set(left_until(until));
  boost::system::error_code error;
  co_await waiter.async_wait(asio::posix::stream_descriptor::wait_write,
                             asio::redirect_error(asio::use_awaitable, error));
  limit.clear();
  if (late) co_return gateway_error("connect", "timed out");
  if (error) co_return gateway_error("connect", error.message());
  int problem = 0;
  socklen_t length = sizeof problem;
  ::getsockopt(waiter.native_handle(), SOL_SOCKET, SO_ERROR, &problem, &length);
  if (problem != 0) co_return failed(problem);
  co_return platform::UniqueFd(waiter.release());
}

asio::awaitable<Result<platform::UniqueFd>> connect_to_any(IoThread& thread, const Endpoints& endpoints,
                                                           Clock::time_point until) {
  Result<platform::UniqueFd> last = gateway_error("look-up of the name", "no address");
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    // The first address may be dead: it does not get the time of all.
    const auto share = (until - Clock::now()) / static_cast<int>(endpoints.size() - i);
    last = co_await connect_to(thread, endpoints[i], Clock::now() + share);
    if (last) break;
  }
  co_return last;
}

}  // namespace

Outbound::Outbound(IoThread& thread, TlsStream stream)
    : thread_(thread), stream_(std::move(stream)), write_limit_(thread.deadlines(), [this] { stream_.close(); }) {}

asio::awaitable<Result<std::unique_ptr<Outbound>>> Outbound::open(IoThread& thread, std::string host,
                                                                  std::uint16_t port,
                                                                  std::shared_ptr<const TlsContext> tls,
                                                                  std::shared_ptr<TlsSessionSlot> sessions,
                                                                  std::chrono::milliseconds limit) {
  const Clock::time_point until = Clock::now() + limit;
  const auto endpoints = co_await look_up(thread, host, port, until);
  if (!endpoints) co_return std::unexpected(endpoints.error());
  auto fd = co_await connect_to_any(thread, *endpoints, until);
  if (!fd) co_return std::unexpected(std::move(fd.error()));
  auto stream = TlsStream::make_client(thread.context(), std::move(*fd), *tls, host, std::move(sessions));
  if (!stream) co_return gateway_error("TLS", stream.error().message);

  bool late = false;
  Deadline handshake_limit(thread.deadlines(), [&] {
    late = true;
    stream->close();
  });
  handshake_limit.set(left_until(until));
  const Result<void> secured = co_await stream->handshake();
  handshake_limit.clear();
  if (!secured) co_return gateway_error("TLS handshake", late ? "timed out" : secured.error().message);
  co_return std::make_unique<Outbound>(thread, std::move(*stream));
}

asio::awaitable<bool> Outbound::write(std::string_view data) {
  while (!data.empty()) {
    const TlsStream::Outcome outcome = stream_.try_write(data);
    switch (outcome.state) {
      case TlsStream::State::done:
        data.remove_prefix(outcome.bytes);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        write_limit_.set(kWriteTimeout);
        const bool ready = co_await stream_.wait(outcome.state);
        write_limit_.clear();
        if (!ready) co_return false;
        break;
      }
      default:
        co_return false;
    }
  }
  co_return true;
}

asio::awaitable<TlsStream::Outcome> Outbound::read_some(std::span<char> buffer) {
  return stream_.read_some(buffer);
}

asio::awaitable<TlsStream::Outcome> Outbound::read_within(std::span<char> buffer, std::chrono::milliseconds limit) {
  bool late = false;
  Deadline deadline(thread_.deadlines(), [&] {
    late = true;
    stream_.cancel_wait();
  });
  deadline.set(limit);
  for (;;) {
    const TlsStream::Outcome outcome = stream_.try_read(buffer);
    if (outcome.state != TlsStream::State::want_read && outcome.state != TlsStream::State::want_write)
      co_return outcome;
    const bool ready = co_await stream_.wait(outcome.state);
    if (late) co_return TlsStream::Outcome{TlsStream::State::want_read};
    if (!ready) co_return TlsStream::Outcome{TlsStream::State::closed};
  }
}

}  // namespace appmesh::transport

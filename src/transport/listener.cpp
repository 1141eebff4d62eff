#include "transport/listener.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <signal.h>
#include <spdlog/spdlog.h>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerTurn = 64;
constexpr std::chrono::milliseconds kRetryAccept{1'000};

struct Address {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);

  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

Result<Address> parse_address(const std::string& text, std::uint16_t port) {
  Address address;
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
  } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
  } else {
    return fail(ErrorKind::invalid_argument, "listen address '" + text + "' is neither IPv4 nor IPv6");
  }
  return address;
}

std::string to_text(const Address& address) {
  std::string text(INET6_ADDRSTRLEN, '\0');
  const void* bytes = address.storage.ss_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr)
                          : &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr;
  if (!::inet_ntop(address.storage.ss_family, bytes, text.data(), INET6_ADDRSTRLEN)) return "?";
  text.resize(std::strlen(text.c_str()));
  return text;
}

std::uint16_t port_of(const Address& address) {
  return ntohs(address.storage.ss_family == AF_INET
                   ? reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port
                   : reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_port);
}

std::unexpected<Error> listen_error(const ListenOptions& options, std::string_view step, int error_number) {
  return fail_errno(ErrorKind::unavailable,
                    "listen on " + options.address + ":" + std::to_string(options.port) + ": " + std::string(step),
                    error_number);
}

struct Listening {
  platform::UniqueFd fd;
  std::uint16_t port = 0;
};

Result<Listening> open_socket(const ListenOptions& options) {
  auto address = parse_address(options.address, options.port);
  if (!address) return std::unexpected(std::move(address.error()));
  platform::UniqueFd fd(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return listen_error(options, "socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), address->get(), address->length) != 0) return listen_error(options, "bind", errno);
  if (::listen(fd.get(), kBacklog) != 0) return listen_error(options, "listen", errno);
  Address bound;
  if (::getsockname(fd.get(), bound.get(), &bound.length) != 0) return listen_error(options, "getsockname", errno);
  return Listening{std::move(fd), port_of(bound)};
}

bool is_shortage(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS || error_number == ENOMEM;
}

}  // namespace

class Listener::Acceptor : public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(const ListenOptions& options, IoPool& pool, MakeSession make_session, std::shared_ptr<const TlsContext> tls,
           Listening listening)
      : pool_(pool),
        first_(pool.first()),
        max_connections_(options.connections),
        fill_thread_(options.fill_thread),
        make_session_(std::move(make_session)),
        tls_(std::move(tls)),
        port_(listening.port),
        count_of_(pool.size()),
        sessions_of_(pool.size()) {
    acceptor_.emplace(first_.context());
    acceptor_->assign(asio::ip::tcp::v4(), listening.fd.release());
  }

  void start() {
    asio::post(first_.context(), [self = shared_from_this()] {
      self->retry_.emplace(self->first_.deadlines(), [raw = self.get()] { raw->resume(); });
      self->wait();
    });
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::size_t connections() const { return count_.load(std::memory_order_relaxed); }

  void set_tls(std::shared_ptr<const TlsContext> tls) {
    const std::lock_guard lock(tls_mutex_);
    tls_ = std::move(tls);
  }

  void stop() {
    if (stopping_.exchange(true)) return;
    run_on(first_, [this] {
      retry_.reset();
      acceptor_.reset();
    });
    for (std::size_t i = 0; i < pool_.size(); ++i) {
      run_on(pool_.thread(i), [this, i] {
        // A session that stops may end, and leave the set, within the call.
        const std::vector<Session*> sessions(sessions_of_[i].begin(), sessions_of_[i].end());
        for (Session* session : sessions) session->stop();
      });
    }
  }

 private:
  // Runs on the thread and waits for it; here when the threads have ended already.
  template <typename Function>
  static void run_on(IoThread& thread, Function function) {
    if (thread.context().stopped()) return function();
    std::promise<void> done;
    asio::post(thread.context(), [&] {
      function();
      done.set_value();
    });
    done.get_future().wait();
  }

  void wait() {
    if (!acceptor_) return;
    acceptor_->async_wait(asio::ip::tcp::acceptor::wait_read,
                          [self = shared_from_this()](const boost::system::error_code& error) {
                            if (!error) self->accept_some();
                          });
  }

  void accept_some() {
    for (int i = 0; i < kAcceptsPerTurn && acceptor_; ++i) {
      if (connections() >= max_connections_) return pause();
      Address address;
      platform::UniqueFd fd(
          ::accept4(acceptor_->native_handle(), address.get(), &address.length, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd) {
        admit(std::move(fd), address);
      } else if (errno == EAGAIN) {
        break;
      } else if (is_shortage(errno)) {
        spdlog::warn("accept: {}; waiting for a connection to close", std::strerror(errno));
        return pause();
      }
      // Anything else is about the one connection that was lost before we took it, see accept(2).
    }
    wait();
  }

  // New connections wait in the backlog until one of ours closes. The timer is for a shortage that others caused.
  // A connection that closed a moment before may not have seen the pause, which the timer mends too.
  void pause() {
    paused_.store(true);
    retry_->set(kRetryAccept);
  }

  void resume() {
    if (paused_.exchange(false)) accept_some();
  }

  void closed(std::size_t index) {
    count_of_[index].fetch_sub(1, std::memory_order_relaxed);
    count_.fetch_sub(1);
    if (!paused_.load()) return;
    asio::post(first_.context(), [self = shared_from_this()] { self->resume(); });
  }

  void admit(platform::UniqueFd fd, const Address& address) {
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    count_.fetch_add(1);
    const std::size_t index = pick_thread();
    count_of_[index].fetch_add(1, std::memory_order_relaxed);
    asio::post(pool_.thread(index).context(),
               [self = shared_from_this(), index, fd = std::move(fd), peer = to_text(address)]() mutable {
                 self->serve(index, std::move(fd), std::move(peer));
               });
  }

  // Connections that pass each other messages are fastest on one thread: every hop to another is a wake-up. The last
  // thread is filled first, since the first one accepts for all ports.
  std::size_t pick_thread() {
    if (fill_thread_ == 0) return next_thread_++ % pool_.size();
    std::size_t emptiest = pool_.size() - 1;
    std::size_t fewest = std::numeric_limits<std::size_t>::max();
    for (std::size_t i = pool_.size(); i-- > 0;) {
      const std::size_t count = count_of_[i].load(std::memory_order_relaxed);
      if (count < fill_thread_) return i;
      if (count < fewest) {
        fewest = count;
        emptiest = i;
      }
    }
    return emptiest;
  }

  void serve(std::size_t index, platform::UniqueFd fd, std::string peer) {
    IoThread& thread = pool_.thread(index);
    std::shared_ptr<const TlsContext> tls;
    {
      const std::lock_guard lock(tls_mutex_);
      tls = tls_;
    }
    auto stream = TlsStream::make(thread.context(), std::move(fd), *tls);
    if (!stream || stopping_.load()) {
      if (!stream) spdlog::warn("connection from {}: {}", peer, stream.error().message);
      return closed(index);
    }
    auto session = make_session_(thread, std::move(*stream), std::move(peer));
    Session* const raw = session.get();
    sessions_of_[index].insert(raw);
    asio::co_spawn(
        thread.context(), [session = std::move(session)] { return session->run(); },
        [self = shared_from_this(), index, raw](const std::exception_ptr& problem) {
          self->sessions_of_[index].erase(raw);
          self->closed(index);
          if (problem) self->report(problem);
        });
  }

  static void report(const std::exception_ptr& problem) {
    try {
      std::rethrow_exception(problem);
    } catch (const std::exception& e) {
      spdlog::error("a connection ended by an exception: {}", e.what());
    }
  }

  IoPool& pool_;
  IoThread& first_;
  const std::size_t max_connections_;
  const std::size_t fill_thread_;
  const MakeSession make_session_;
  std::mutex tls_mutex_;
  std::shared_ptr<const TlsContext> tls_;
  const std::uint16_t port_;

  // Of the first thread.
  std::optional<asio::ip::tcp::acceptor> acceptor_;
  std::optional<Deadline> retry_;
  std::size_t next_thread_ = 0;

  std::atomic<bool> paused_{false};
  std::atomic<std::size_t> count_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::atomic<std::size_t>> count_of_;         // connections of each thread
  std::vector<std::unordered_set<Session*>> sessions_of_;  // each set belongs to the thread of its index
};

Result<std::unique_ptr<Listener>> Listener::start(const ListenOptions& options, IoPool& pool,
                                                  MakeSession make_session) {
  auto tls = TlsContext::load(options.tls);
  if (!tls) return std::unexpected(std::move(tls.error()));
  auto listening = open_socket(options);
  if (!listening) return std::unexpected(std::move(listening.error()));
  // A peer that has gone must be an error of that write, not the end of the process.
  ::signal(SIGPIPE, SIG_IGN);
  auto acceptor =
      std::make_shared<Acceptor>(options, pool, std::move(make_session), std::move(*tls), std::move(*listening));
  if (!options.hold) acceptor->start();
  return std::unique_ptr<Listener>(new Listener(std::move(acceptor), options.tls.offer_http));
}

Listener::Listener(std::shared_ptr<Acceptor> acceptor, bool offer_http)
    : acceptor_(std::move(acceptor)), offer_http_(offer_http) {}
Listener::~Listener() {
  stop();
}
void Listener::begin() {
  acceptor_->start();
}
std::uint16_t Listener::port() const {
  return acceptor_->port();
}
std::size_t Listener::connections() const {
  return acceptor_->connections();
}
void Listener::stop() {
  acceptor_->stop();
}

Result<void> Listener::reload_tls(TlsOptions options) {
  options.offer_http = offer_http_;
  auto tls = TlsContext::load(options);
  if (!tls) return std::unexpected(std::move(tls.error()));
  acceptor_->set_tls(std::move(*tls));
  return {};
}

}  // namespace appmesh::transport

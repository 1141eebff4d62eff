// The connections of one I/O thread to other daemons over HTTPS: those that carry a request, and those that wait for
// the next one. Owned by the ForwardClient, kept alive by the leases; belongs to its I/O thread alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>

#include "core/error.h"
#include "transport/outbound.h"

namespace appmesh::transport {

struct ForwardLimits {
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds idle_timeout{30'000};  // below that of any server, so that few connections die in our hands
  std::size_t idle_connections = 8;                // of one thread to one target
  std::size_t outstanding = 512;                   // of one thread to one target; beyond it 503
};

class ForwardPool : public std::enable_shared_from_this<ForwardPool> {
 public:
  ForwardPool(IoThread& thread, const ForwardLimits& limits);
  ForwardPool(const ForwardPool&) = delete;
  ForwardPool& operator=(const ForwardPool&) = delete;

  struct Target;

  // One connection, and one of the requests that may be outstanding. Dropped without keep(), the connection is closed.
  class Lease {
   public:
    Lease(std::shared_ptr<ForwardPool> pool, std::shared_ptr<Target> target);
    Lease(Lease&& other) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    ~Lease();

    [[nodiscard]] Outbound& connection() { return *connection_; }
    [[nodiscard]] bool was_used() const { return was_used_; }  // it has carried a request before
    void keep();                                               // gives it to the next request

   private:
    friend class ForwardPool;
    std::shared_ptr<ForwardPool> pool_;
    std::shared_ptr<Target> target_;
    std::unique_ptr<Outbound> connection_;
    std::shared_ptr<const TlsContext> tls_;  // that it was opened with
    bool was_used_ = false;
  };

  // `fresh`: none that was used before. Errors: bad_gateway, unavailable when too many requests are outstanding.
  boost::asio::awaitable<Result<Lease>> acquire(std::string host, std::uint16_t port,
                                                std::shared_ptr<const TlsContext> tls, bool fresh);
  void stop();  // closes what waits, and keeps nothing from then on

 private:
  using Key = std::pair<std::string, std::uint16_t>;
  void give_back(Lease& lease);
  void leave(Target& target);
  void close_old();
  void arm();

  IoThread& thread_;
  const ForwardLimits limits_;
  std::map<Key, std::shared_ptr<Target>> targets_;  // those with a request or a connection
  Deadline sweep_;
  bool armed_ = false;
  bool stopped_ = false;
};

}  // namespace appmesh::transport

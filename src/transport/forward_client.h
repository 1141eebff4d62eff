// Forwards requests to other daemons: who may be reached, over which protocol, and over which connections. Owned by the
// daemon; forward() is called on every I/O thread at once, the rest by the thread that starts and ends the daemon, and
// configure() by any.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/forwarder.h"
#include "transport/forward_pool.h"
#include "transport/forward_target.h"
#include "transport/io_pool.h"
#include "transport/tls_context.h"

namespace appmesh::transport {

struct ForwardOptions {
  std::string listen_address;
  std::uint16_t rest_port = 0;
  std::uint16_t tcp_port = 0;
  std::uint16_t websocket_port = 0;
  std::vector<std::string> targets;  // REST.ForwardTargets; what is no host or host:port is logged and left out
  TlsClientOptions tls;
  std::function<bool(std::string_view host)> is_cluster_member;  // any thread, never waits; empty: no cluster
};

class ForwardClient final : public api::Forwarder {
 public:
  ForwardClient(IoPool& pool, ForwardOptions options, const ForwardLimits& limits = {});
  ~ForwardClient() override;  // after stop()
  ForwardClient(const ForwardClient&) = delete;
  ForwardClient& operator=(const ForwardClient&) = delete;

  // For requests from now on; reads the certificates again. Blocks for a moment.
  void configure(ForwardOptions options);

  boost::asio::awaitable<std::optional<api::Response>> forward(api::Request& request) override;

  // Closes the connections that wait; requests that are being forwarded go on. Before the pool ends.
  void stop();

  static constexpr unsigned kMaxHops = 4;

 private:
  struct Rules;
  [[nodiscard]] std::shared_ptr<const Rules> rules() const;
  boost::asio::awaitable<Result<api::Response>> send(std::shared_ptr<ForwardPool> pool,
                                                     std::shared_ptr<const Rules> rules, ForwardRoute route,
                                                     api::Request& request, unsigned hops);

  IoPool& io_;
  mutable std::mutex rules_mutex_;
  std::shared_ptr<const Rules> rules_;
  std::vector<std::shared_ptr<ForwardPool>> pools_;  // each belongs to the I/O thread of its index
};

}  // namespace appmesh::transport

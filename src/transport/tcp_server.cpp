#include "transport/tcp_server.h"

#include <utility>

#include "transport/tcp_connection.h"

namespace appmesh::transport {
namespace {

// Callers, workers and subscribers answer each other, which costs least without hops between threads. One thread
// carries some 20,000 tasks a second; who has more connections than this wants the other processors too.
constexpr std::size_t kFillThread = 64;

}  // namespace

Result<std::unique_ptr<Listener>> serve_tcp(const TcpServerOptions& options, IoPool& pool,
                                            std::shared_ptr<api::Service> service) {
  auto shared = std::make_shared<MessageShared>();
  shared->limits = options.limits;
  shared->service = std::move(service);
  ListenOptions listen = options.listen;
  listen.tls.offer_http = false;
  listen.fill_thread = kFillThread;
  return Listener::start(listen, pool,
                         [shared = std::move(shared)](IoThread& thread, TlsStream stream, std::string peer) {
                           return std::make_shared<TcpConnection>(shared, thread, std::move(stream), std::move(peer));
                         });
}

}  // namespace appmesh::transport

#include "transport/tcp_server.h"

#include <utility>

#include "transport/tcp_connection.h"

namespace appmesh::transport {

Result<std::unique_ptr<Listener>> serve_tcp(const TcpServerOptions& options, IoPool& pool,
                                            std::shared_ptr<api::Service> service) {
  auto shared = std::make_shared<MessageShared>();
  shared->limits = options.limits;
  shared->service = std::move(service);
  ListenOptions listen = options.listen;
  listen.tls.offer_http = false;
  return Listener::start(listen, pool,
                         [shared = std::move(shared)](IoThread& thread, TlsStream stream, std::string peer) {
                           return std::make_shared<TcpConnection>(shared, thread, std::move(stream), std::move(peer));
                         });
}

}  // namespace appmesh::transport

#include "transport/http_server.h"

#include <utility>

#include "transport/http_connection.h"

namespace appmesh::transport {

Result<std::unique_ptr<Listener>> serve_https(const HttpServerOptions& options, IoPool& pool,
                                              std::shared_ptr<api::Service> service) {
  auto shared = std::make_shared<HttpShared>();
  shared->limits = options.limits;
  shared->strict_transport_security = options.strict_transport_security;
  shared->service = std::move(service);
  return Listener::start(options.listen, pool,
                         [shared = std::move(shared)](IoThread& thread, TlsStream stream, std::string peer) {
                           return std::make_shared<HttpConnection>(shared, thread, std::move(stream), std::move(peer));
                         });
}

}  // namespace appmesh::transport

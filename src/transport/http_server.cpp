#include "transport/http_server.h"

#include <utility>

#include "transport/http_connection.h"

namespace appmesh::transport {

HttpServerOptions web_socket_options(ListenOptions listen) {
  HttpServerOptions options;
  options.listen = std::move(listen);
  options.strict_transport_security = true;
  options.options_status = 200;
  options.limits.parser.body_bytes = 128UL * 1024 * 1024;
  options.limits.parser.plus_is_space = false;
  options.web_socket.emplace();
  options.web_socket->message_bytes = 64UL * 1024 * 1024;
  options.web_socket->outbound = {.messages = 1024, .bytes = 16UL * 1024 * 1024};
  return options;
}

Result<std::unique_ptr<Listener>> serve_https(const HttpServerOptions& options, IoPool& pool,
                                              std::shared_ptr<api::Service> service) {
  auto shared = std::make_shared<HttpShared>();
  shared->limits = options.limits;
  shared->strict_transport_security = options.strict_transport_security;
  shared->options_status = options.options_status;
  if (options.web_socket) {
    shared->messages = std::make_shared<MessageShared>();
    shared->messages->limits = *options.web_socket;
    shared->messages->service = service;
  }
  shared->service = std::move(service);
  return Listener::start(options.listen, pool,
                         [shared = std::move(shared)](IoThread& thread, TlsStream stream, std::string peer) {
                           return std::make_shared<HttpConnection>(shared, thread, std::move(stream), std::move(peer));
                         });
}

}  // namespace appmesh::transport

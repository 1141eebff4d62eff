// From a request to its response: cross-site rules, the route, the token, the permission, the handler, and the mapping
// of errors and exceptions. Owned by the daemon and shared by all transports; handle() may run on every I/O thread at
// once.
#pragma once

#include <memory>
#include <mutex>

#include <boost/asio/awaitable.hpp>

#include "api/authenticator.h"
#include "api/cross_site.h"
#include "api/request.h"
#include "api/router.h"

namespace appmesh::api {

class Service {
 public:
  // `authenticator` must outlive the service.
  Service(RouteTable routes, Authenticator& authenticator, CrossSitePolicy policy);

  // Never throws: a handler's exception is a 500 that says the request id and nothing else, and a line in the log.
  boost::asio::awaitable<Response> handle(Request request);

  // For a configuration that was changed while running.
  void set_cross_site_policy(CrossSitePolicy policy);

  [[nodiscard]] const RouteTable& routes() const { return routes_; }

 private:
  boost::asio::awaitable<Response> dispatch(const Request& request);
  [[nodiscard]] std::shared_ptr<const CrossSitePolicy> policy() const;

  const RouteTable routes_;
  Authenticator& authenticator_;
  mutable std::mutex policy_mutex_;
  std::shared_ptr<const CrossSitePolicy> policy_;
};

}  // namespace appmesh::api

// From a request to its response: cross-site rules, the route, the token, the permission, the handler, and the mapping
// of errors and exceptions. Owned by the daemon and shared by all transports; handle() may run on every I/O thread at
// once.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include <boost/asio/awaitable.hpp>

#include "api/authenticator.h"
#include "api/call.h"
#include "api/cross_site.h"
#include "api/forwarder.h"
#include "api/long_requests.h"
#include "api/request.h"
#include "api/router.h"

namespace appmesh::api {

// Told of every request that reaches the service, for metrics. On any I/O thread.
class RequestObserver {
 public:
  virtual ~RequestObserver() = default;
  virtual void began() = 0;
  // `route` is null when no route matched.
  virtual void ended(const Route* route, int status, std::chrono::nanoseconds duration) = 0;
};

class Service {
 public:
  // `authenticator` must outlive the service.
  Service(RouteTable routes, Authenticator& authenticator, CrossSitePolicy policy);

  // Never throws: a handler's exception is a 500 that says the request id and nothing else, and a line in the log.
  boost::asio::awaitable<Response> handle(Request request);

  // The same for a request whose route answers by a callback: the answer comes through the call. False, and nothing has
  // happened: the request is one for handle(). On the connection's thread.
  [[nodiscard]] bool start(const std::shared_ptr<Call>& call);

  // For a request whose header is there and whose body is not: the most bytes that its route takes as a stream, 0 when
  // the route wants its body in memory, or when there is no such route.
  [[nodiscard]] std::uint64_t streamed_body_bytes(const Request& request) const;

  // Before the first request; must outlive the service.
  void set_observer(RequestObserver& observer) { observer_ = &observer; }

  // For a configuration that was changed while running.
  void set_cross_site_policy(CrossSitePolicy policy);

  // For requests that name another daemon; without one they are served here. Before the first request; it must outlive
  // the last one.
  void set_forwarder(Forwarder& forwarder) { forwarder_ = &forwarder; }

  // Where requests that last hold their rights; without it they end by themselves alone. Before the first request; it
  // must outlive the last one.
  void set_long_requests(LongRequests& requests) { long_requests_ = &requests; }

  // Whether a page of another site may not have this connection become a WebSocket: then the answer.
  [[nodiscard]] std::optional<Response> refuse_upgrade(const Request& request) const;

  [[nodiscard]] const RouteTable& routes() const { return routes_; }

 private:
  friend class Call;
  boost::asio::awaitable<Response> dispatch(Request& request, const Route*& route);
  // Who calls, if the route may be used by them. A request of a route that lasts gets its right.
  [[nodiscard]] Result<std::shared_ptr<const security::Principal>> authorise(const Route& route,
                                                                             Request& request) const;
  boost::asio::awaitable<std::optional<Response>> forward(Request& request);
  void finish(const Call& call, Response& response);
  [[nodiscard]] std::shared_ptr<const CrossSitePolicy> policy() const;

  const RouteTable routes_;
  Authenticator& authenticator_;
  RequestObserver* observer_ = nullptr;
  Forwarder* forwarder_ = nullptr;
  LongRequests* long_requests_ = nullptr;
  mutable std::mutex policy_mutex_;
  std::shared_ptr<const CrossSitePolicy> policy_;
};

}  // namespace appmesh::api

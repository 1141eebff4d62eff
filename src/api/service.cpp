#include "api/service.h"

#include <algorithm>
#include <exception>

#include <spdlog/spdlog.h>

#include "api/cross_site.h"

namespace appmesh::api {
namespace {

Response internal_error(const Request& request) {
  return message_response("Internal error, request id " + request.id, 500);
}

Response empty_response(int status) {
  Response response;
  response.status = status;
  return response;
}

}  // namespace

Service::Service(RouteTable routes, Authenticator& authenticator, CrossSitePolicy policy)
    : routes_(std::move(routes)),
      authenticator_(authenticator),
      policy_(std::make_shared<const CrossSitePolicy>(std::move(policy))) {}

void Service::set_cross_site_policy(CrossSitePolicy policy) {
  auto next = std::make_shared<const CrossSitePolicy>(std::move(policy));
  const std::lock_guard lock(policy_mutex_);
  policy_.swap(next);
}

std::shared_ptr<const CrossSitePolicy> Service::policy() const {
  const std::lock_guard lock(policy_mutex_);
  return policy_;
}

boost::asio::awaitable<Response> Service::handle(Request request) {
  Response response;
  const Route* route = nullptr;
  const auto begun = std::chrono::steady_clock::now();
  if (observer_ != nullptr) observer_->began();
  try {
    response = co_await dispatch(request, route);
    if (response.status == 500 && !response.relayed) {
      spdlog::error("request {} {} {} failed: {} {}", request.id, to_string(request.method), request.path,
                    response.body_view(), response.log_note);
      response = internal_error(request);
    }
  } catch (const std::exception& e) {
    spdlog::error("request {} {} {} threw: {}", request.id, to_string(request.method), request.path, e.what());
    response = internal_error(request);
  } catch (...) {
    spdlog::error("request {} {} {} threw something", request.id, to_string(request.method), request.path);
    response = internal_error(request);
  }
  // Only browsers send Origin, so most requests never look at the policy.
  if (request.transport == TransportKind::https && request.header("origin")) {
    add_cors_headers(*policy(), request, response);
  }
  if (observer_ != nullptr) observer_->ended(route, response.status, std::chrono::steady_clock::now() - begun);
  co_return response;
}

std::uint64_t Service::streamed_body_bytes(const Request& request) const {
  if (request.method == Method::get) return 0;
  const auto match = routes_.find(request.method, request.path);
  return match ? match->route->streamed_body_bytes : 0;
}

boost::asio::awaitable<Response> Service::dispatch(Request& request, const Route*& route) {
  switch (request.method) {
    case Method::head:
      co_return empty_response(200);
    case Method::options:
      co_return empty_response(request.transport == TransportKind::https ? 204 : 200);
    case Method::other:
      co_return error_response({ErrorKind::method_not_allowed, "Method not allowed", {}});
    default:
      break;
  }
  if (request.transport == TransportKind::https && request.method != Method::get && request.header("origin") &&
      !passes_csrf_rule(*policy(), request)) {
    co_return message_response("CSRF validation failed: origin not allowed", 403);
  }

  if (forwarder_ != nullptr && request.header(kTargetHeader)) {
    auto answer = co_await forwarder_->forward(request);
    if (answer) co_return std::move(*answer);
  }

  auto match = routes_.find(request.method, request.path);
  if (!match) co_return error_response(match.error());
  route = match->route;

  Context context{.request = request, .principal = nullptr, .variables = std::move(match->variables)};
  const Requirement& requirement = match->route->requirement;
  if (requirement.kind() != Requirement::Kind::free) {
    const auto token = request.token();
    if (!token) co_return error_response({ErrorKind::unauthenticated, "No authentication token provided", {}});
    auto principal = authenticator_.authenticate(*token);
    if (!principal) co_return error_response(principal.error());
    if (requirement.kind() == Requirement::Kind::permission && !(*principal)->may(requirement.id())) {
      co_return error_response(
          {ErrorKind::permission_denied,
           "Permission denied: user '" + (*principal)->user + "' lacks required permission '" + requirement.id() + "'",
           {}});
    }
    context.principal = std::move(*principal);
  }
  co_return co_await match->route->handler(context);
}

}  // namespace appmesh::api

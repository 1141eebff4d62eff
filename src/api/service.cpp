#include "api/service.h"

#include <algorithm>
#include <exception>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <spdlog/spdlog.h>

#include "api/body.h"
#include "api/cross_site.h"
#include "api/one_shot.h"
#include "api/text_checks.h"

namespace appmesh::api {
namespace {

Response internal_error(const Request& request) {
  return message_response("Internal error, request id " + request.id, 500);
}

// What a 500 is about stays in the log.
void conceal(const Request& request, Response& response) {
  if (response.status != 500 || response.relayed) return;
  spdlog::error("request {} {} {} failed: {} {}", request.id, to_string(request.method), request.path,
                response.body_view(), response.log_note);
  response = internal_error(request);
}

// What a handler threw, as an answer to conceal. In its catch.
Response thrown() {
  try {
    throw;
  } catch (const std::exception& e) {
    return error_response({ErrorKind::internal, "threw", e.what()});
  } catch (...) {
    return error_response({ErrorKind::internal, "threw something", {}});
  }
}

// A direct route's answer, for a coroutine that waits for it.
class AwaitedCall final : public Call {
 public:
  AwaitedCall(Request& request, const boost::asio::any_io_executor& executor) : Call(request), timer_(executor) {}

  void expire_after(std::chrono::seconds limit, std::move_only_function<void()> expired) override {
    timer_.expires_after(limit);
    timer_.async_wait([expired = std::move(expired)](const boost::system::error_code& error) mutable {
      if (!error) expired();
    });
  }
  boost::asio::awaitable<Response> answer() {
    Response response = co_await answer_.get();
    timer_.cancel();
    co_return response;
  }

 private:
  void deliver(Response response) override { answer_.set(std::move(response)); }

  boost::asio::steady_timer timer_;
  OneShot<Response> answer_;
};

// What goes on when the answer's head has been sent.
bool goes_on(const Response& response) {
  return response.stream || response.socket || response.frames_in || response.frames_out;
}

Response foreign_origin() {
  return message_response("CSRF validation failed: origin not allowed", 403);
}

// A plain GET changes nothing, and a page of another site cannot read its answer. One that goes on is a way in: a shell
// above all.
bool may_harm(const Request& request, const Result<RouteTable::Match>& match) {
  return request.method != Method::get || request.wants_socket || (match && match->route->lasts);
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
  } catch (...) {
    response = thrown();
  }
  conceal(request, response);
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
  if (auto text = check_text(request); !text) co_return error_response(text.error());
  auto match = routes_.find(request.method, request.path);
  if (request.transport == TransportKind::https && request.header("origin") && may_harm(request, match) &&
      !passes_csrf_rule(*policy(), request)) {
    co_return foreign_origin();
  }

  if (forwarder_ != nullptr && request.header(kTargetHeader)) {
    auto answer = co_await forward(request);
    if (answer) co_return std::move(*answer);
  }

  if (!match) co_return error_response(match.error());
  route = match->route;
  if (!route->lasts) request.when_peer_leaves = nullptr;

  auto principal = authorise(*route, request);
  if (!principal) co_return error_response(principal.error());
  if (route->direct) {
    const auto call = std::make_shared<AwaitedCall>(request, co_await boost::asio::this_coro::executor);
    call->context.principal = std::move(*principal);
    call->context.variables = std::move(match->variables);
    route->direct(call);
    co_return co_await call->answer();
  }
  Context context{.request = request, .principal = std::move(*principal), .variables = std::move(match->variables)};
  Response response = co_await route->handler(context);
  if (goes_on(response)) {
    if (!route->lasts)
      co_return error_response({ErrorKind::internal, "", "the route does not say that its requests last"});
    if (!response.right) response.right = request.right;
  }
  co_return response;
}

// The route is the other daemon's, and so is the answer whether the caller may use it. But whoever is known here and
// loses what they have here loses what goes through here.
boost::asio::awaitable<std::optional<Response>> Service::forward(Request& request) {
  const auto token = request.token();
  if (long_requests_ != nullptr && token) {
    const std::uint64_t seen = long_requests_->changes();
    if (auto caller = authenticator_.authenticate(*token); caller && caller->claims) {
      const auto match = routes_.find(request.method, request.path);
      const bool permitted = match && match->route->requirement.kind() == Requirement::Kind::permission &&
                             caller->principal->may(match->route->requirement.id());
      auto right = long_requests_->begin(std::move(caller->claims),
                                         permitted ? match->route->requirement.id() : std::string(), seen);
      if (!right) co_return error_response(right.error());
      request.right = std::move(*right);
      if (request.body_reader) request.body_reader->guard(request.right);
    }
  }
  auto answer = co_await forwarder_->forward(request);
  if (!request.right || !answer) co_return answer;
  if (const auto lost = request.right->lost()) co_return error_response(*lost);
  if (goes_on(*answer)) answer->right = request.right;
  co_return answer;
}

std::optional<Response> Service::refuse_upgrade(const Request& request) const {
  if (!request.header("origin") || passes_csrf_rule(*policy(), request)) return std::nullopt;
  return foreign_origin();
}

Result<std::shared_ptr<const security::Principal>> Service::authorise(const Route& route, Request& request) const {
  const Requirement& requirement = route.requirement;
  if (requirement.kind() == Requirement::Kind::free) return nullptr;
  const auto token = request.token();
  if (!token) return fail(ErrorKind::unauthenticated, "No authentication token provided");
  const std::uint64_t seen = route.lasts && long_requests_ != nullptr ? long_requests_->changes() : 0;
  auto caller = authenticator_.authenticate(*token);
  if (!caller) return std::unexpected(std::move(caller.error()));
  if (requirement.kind() == Requirement::Kind::permission) {
    auto allowed = security::require_permission(*caller->principal, requirement.id());
    if (!allowed) return std::unexpected(std::move(allowed.error()));
  }
  if (route.lasts && long_requests_ != nullptr && caller->claims) {
    auto right = long_requests_->begin(std::move(caller->claims), requirement.id(), seen);
    if (!right) return std::unexpected(std::move(right.error()));
    request.right = std::move(*right);
    if (request.body_reader) request.body_reader->guard(request.right);
  }
  return std::move(caller->principal);
}

bool Service::start(const std::shared_ptr<Call>& call) {
  Context& context = call->context;
  Request& request = context.request;
  if (forwarder_ != nullptr && request.header(kTargetHeader)) return false;
  auto match = routes_.find(request.method, request.path);
  if (!match || !match->route->direct) return false;

  if (!check_text(request)) return false;  // handle() names what is wrong
  call->service_ = this;
  call->route_ = match->route;
  call->begun_ = std::chrono::steady_clock::now();
  if (observer_ != nullptr) observer_->began();
  try {
    auto principal = authorise(*match->route, request);
    if (!principal) {
      call->reply(error_response(principal.error()));
      return true;
    }
    context.principal = std::move(*principal);
    context.variables = std::move(match->variables);
    match->route->direct(call);
  } catch (...) {
    call->reply(thrown());
  }
  return true;
}

void Service::finish(const Call& call, Response& response) {
  conceal(call.context.request, response);
  if (observer_ != nullptr) {
    observer_->ended(call.route_, response.status, std::chrono::steady_clock::now() - call.begun_);
  }
}

void Call::reply(Response response) {
  if (replied_.exchange(true, std::memory_order_acq_rel)) return;
  if (service_ != nullptr) service_->finish(*this, response);
  deliver(std::move(response));
}

}  // namespace appmesh::api

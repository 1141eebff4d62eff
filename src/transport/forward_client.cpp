#include "transport/forward_client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <future>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <ifaddrs.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "transport/forward_files.h"
#include "transport/forward_http.h"
#include "transport/forward_message.h"
#include "transport/forward_tcp.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

std::string address_text(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text.data(), text.size());
  else if (address->sa_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, text.data(), text.size());
  return text.data();
}

// Where our own ports are ourselves: at one address, there alone; at all of them, at each that the host has.
std::vector<std::string> own_hosts(const std::string& listen_address) {
  std::vector<std::string> hosts{"localhost"};
  const auto add = [&](std::string_view text) {
    if (auto own = Authority::parse(text)) hosts.push_back(std::move(own->host));
  };
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) == 0) {
    const std::string_view full(name.data());
    add(full);
    add(full.substr(0, full.find('.')));
  }
  add(listen_address);
  if (listen_address != "0.0.0.0" && listen_address != "::") return hosts;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return hosts;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr != nullptr) add(address_text(each->ifa_addr));
  }
  ::freeifaddrs(first);
  return hosts;
}

Result<unsigned> hops_of(const api::Request& request) {
  const auto text = request.header(api::kHopsHeader);
  if (!text) return 0U;
  unsigned hops = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), hops);
  if (error != std::errc{} || end != text->data() + text->size())
    return fail(ErrorKind::invalid_argument, "header 'X-Forward-Hops': not a number");
  return hops;
}

// A request that changes nothing may be sent twice when the first connection turns out to be dead.
bool may_repeat(const api::Request& request) {
  return request.method == api::Method::get;
}

}  // namespace

struct ForwardClient::Rules {
  ForwardRules targets;
  Result<std::shared_ptr<const TlsContext>> https;
  Result<std::shared_ptr<const TlsContext>> tcp;  // which offers no protocol
};

ForwardClient::ForwardClient(IoPool& pool, ForwardOptions options, const ForwardLimits& limits) : io_(pool) {
  configure(std::move(options));
  for (std::size_t i = 0; i < pool.size(); ++i) pools_.push_back(std::make_shared<ForwardPool>(pool.thread(i), limits));
}

ForwardClient::~ForwardClient() = default;

void ForwardClient::configure(ForwardOptions options) {
  ForwardRules targets{.rest_port = options.rest_port,
                       .tcp_port = options.tcp_port,
                       .websocket_port = options.websocket_port,
                       .own_hosts = own_hosts(options.listen_address),
                       .targets = {},
                       .is_cluster_member = std::move(options.is_cluster_member)};
  for (const std::string& text : options.targets) {
    auto target = Authority::parse(text);
    if (target)
      targets.targets.push_back(std::move(*target));
    else
      spdlog::warn("configuration key REST.ForwardTargets: '{}' is ignored: {}", text, target.error().message);
  }
  options.tls.offer_http = true;
  auto https = TlsContext::load_client(options.tls);
  options.tls.offer_http = false;
  auto tcp = TlsContext::load_client(options.tls);
  if (!tcp) spdlog::warn("forwarding: {}", tcp.error().message);
  auto rules = std::make_shared<const Rules>(
      Rules{.targets = std::move(targets), .https = std::move(https), .tcp = std::move(tcp)});
  const std::lock_guard lock(rules_mutex_);
  rules_ = std::move(rules);
}

std::shared_ptr<const ForwardClient::Rules> ForwardClient::rules() const {
  const std::lock_guard lock(rules_mutex_);
  return rules_;
}

asio::awaitable<std::optional<api::Response>> ForwardClient::forward(api::Request& request) {
  const auto target = request.header(api::kTargetHeader);
  if (!target) co_return std::nullopt;
  const auto current = rules();
  const auto route = find_forward_route(current->targets, *target, request.transport == api::TransportKind::https);
  if (!route) co_return api::error_response(route.error());
  if (route->kind == ForwardKind::here) co_return std::nullopt;
  const auto hops = hops_of(request);
  if (!hops) co_return api::error_response(hops.error());
  if (*hops >= kMaxHops)
    co_return api::error_response(
        {ErrorKind::loop_detected, "The request was forwarded " + std::to_string(*hops) + " times already", {}});

  const asio::any_io_executor executor = co_await asio::this_coro::executor;
  const asio::execution_context& here = asio::query(executor, asio::execution::context);
  std::shared_ptr<ForwardPool> pool;
  for (std::size_t i = 0; i < io_.size(); ++i) {
    if (&io_.thread(i).context() == &here) pool = pools_[i];
  }
  if (!pool) co_return api::error_response({ErrorKind::unavailable, "The daemon is stopping", {}});

  auto answer = co_await send(std::move(pool), current, *route, request, *hops + 1);
  if (answer) co_return std::move(*answer);
  Error problem = std::move(answer.error());
  if (problem.kind != ErrorKind::bad_gateway && problem.kind != ErrorKind::unavailable)
    co_return api::error_response(problem);
  problem.message = "Forwarding to " + to_text(route->host, route->port) + " failed: " + problem.message;
  spdlog::info("request {} {} {}: {}", request.id, to_string(request.method), request.path, problem.message);
  co_return api::error_response(problem);
}

asio::awaitable<Result<api::Response>> ForwardClient::send(std::shared_ptr<ForwardPool> pool,
                                                           std::shared_ptr<const Rules> rules, ForwardRoute route,
                                                           api::Request& request, unsigned hops) {
  const bool side_channel = request.transport != api::TransportKind::https &&
                            (request.header(kReceiveFileHeader) || request.header(kSendFileHeader));
  if (route.kind == ForwardKind::https && side_channel)
    co_return fail(ErrorKind::invalid_argument, "a file in frames is forwarded to the TCP port of a daemon alone");
  const auto& tls = route.kind == ForwardKind::https ? rules->https : rules->tcp;
  if (!tls) co_return fail(ErrorKind::bad_gateway, tls.error().message);
  for (bool fresh = false;; fresh = true) {
    auto lease = co_await pool->acquire(route.host, route.port, *tls, fresh);
    if (!lease) co_return std::unexpected(std::move(lease.error()));
    const bool was_used = lease->was_used();
    bool answered = false;
    Result<api::Response> response;
    if (route.kind == ForwardKind::https)
      response = co_await exchange_http(std::move(*lease), request, http_head(request, route, hops), answered);
    else
      response = co_await exchange_tcp(std::move(*lease), request, hops, answered);
    if (response || answered || !was_used || !may_repeat(request)) co_return response;
  }
}

void ForwardClient::stop() {
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    const auto end = [this, i] {
      if (pools_[i]) pools_[i]->stop();
      pools_[i].reset();
    };
    if (io_.thread(i).context().stopped()) {
      end();
      continue;
    }
    std::promise<void> done;
    asio::post(io_.thread(i).context(), [&] {
      end();
      done.set_value();
    });
    done.get_future().wait();
  }
}

}  // namespace appmesh::transport

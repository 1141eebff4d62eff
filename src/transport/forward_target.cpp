#include "transport/forward_target.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace appmesh::transport {
namespace {

constexpr std::size_t kMaxHostBytes = 253;  // RFC 1035 section 2.3.4, as text
constexpr std::uint16_t kLastSystemPort = 1024;

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// The usual spelling of an address, so that two spellings of one are equal; nothing when it is none.
template <int Family, typename Address>
std::optional<std::string> same_address(const std::string& text) {
  Address address{};
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (::inet_pton(Family, text.c_str(), &address) != 1) return std::nullopt;
  if (::inet_ntop(Family, &address, out.data(), out.size()) == nullptr) return std::nullopt;
  return std::string(out.data());
}

Result<std::string> check_host(std::string_view text) {
  if (text.empty()) return fail(ErrorKind::invalid_argument, "the host is missing");
  if (text.size() > kMaxHostBytes) return fail(ErrorKind::invalid_argument, "the host is too long");
  std::string host(text);
  std::ranges::transform(host, host.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (host.find(':') != std::string::npos) {
    auto address = same_address<AF_INET6, in6_addr>(host);
    if (!address) return fail(ErrorKind::invalid_argument, "the host is no IPv6 address");
    return std::move(*address);
  }
  if (!std::ranges::all_of(host, is_name_character))
    return fail(ErrorKind::invalid_argument, "the host has a character that no host name has");
  if (host.ends_with('.')) host.pop_back();
  if (host.empty() || host.starts_with('.') || host.starts_with('-') || host.find("..") != std::string::npos)
    return fail(ErrorKind::invalid_argument, "the host is no host name");
  return host;
}

Result<std::uint16_t> check_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0)
    return fail(ErrorKind::invalid_argument, "the port is not 1..65535");
  return port;
}

bool is_allowed(const ForwardRules& rules, const ForwardRoute& route) {
  const auto matches = [&](const Authority& target) {
    return target.host == route.host && (!target.port || *target.port == route.port);
  };
  if (std::ranges::any_of(rules.targets, matches)) return true;
  return rules.is_cluster_member && rules.is_cluster_member(route.host);
}

}  // namespace

Result<Authority> Authority::parse(std::string_view text) {
  std::string_view host = text;
  std::optional<std::string_view> port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return fail(ErrorKind::invalid_argument, "']' is missing");
    host = text.substr(1, end - 1);
    if (host.find(':') == std::string_view::npos)
      return fail(ErrorKind::invalid_argument, "the host is no IPv6 address");
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':')
      return fail(ErrorKind::invalid_argument, "something other than a port follows ']'");
    if (!rest.empty()) port = rest.substr(1);
  } else if (std::ranges::count(text, ':') == 1) {
    host = text.substr(0, text.find(':'));
    port = text.substr(text.find(':') + 1);
  }
  Authority authority;
  auto checked = check_host(host);
  if (!checked) return std::unexpected(std::move(checked.error()));
  authority.host = std::move(*checked);
  if (port) {
    const auto number = check_port(*port);
    if (!number) return std::unexpected(number.error());
    authority.port = *number;
  }
  return authority;
}

std::string to_text(std::string_view host, std::uint16_t port) {
  const bool v6 = host.find(':') != std::string_view::npos;
  std::string text;
  if (v6) text.push_back('[');
  text.append(host);
  if (v6) text.push_back(']');
  return text.append(":").append(std::to_string(port));
}

Result<ForwardRoute> find_forward_route(const ForwardRules& rules, std::string_view target, bool over_http) {
  auto authority = Authority::parse(target);
  if (!authority)
    return fail(ErrorKind::invalid_argument, "header 'X-Target-Host': " + std::move(authority.error().message));

  ForwardRoute route{.kind = ForwardKind::tcp, .host = std::move(authority->host), .port = 0};
  if (over_http) {
    route.port = authority->port.value_or(rules.rest_port);
  } else {
    const bool given = authority->port && *authority->port > kLastSystemPort;
    route.port = given ? *authority->port : rules.tcp_port != 0 ? rules.tcp_port : rules.rest_port;
  }
  if (route.port == rules.rest_port || (route.port == rules.websocket_port && rules.websocket_port != 0))
    route.kind = ForwardKind::https;

  const bool own_port = route.kind == ForwardKind::https || (route.port == rules.tcp_port && rules.tcp_port != 0);
  if (own_port && std::ranges::find(rules.own_hosts, route.host) != rules.own_hosts.end()) {
    route.kind = ForwardKind::here;
    return route;
  }
  if (!is_allowed(rules, route))
    return fail(ErrorKind::permission_denied, "Forwarding to " + to_text(route.host, route.port) +
                                                  " is not allowed: it is not in REST.ForwardTargets");
  return route;
}

}  // namespace appmesh::transport

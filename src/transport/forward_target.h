// Where a request with X-Target-Host goes, and whether it may: docs/wire.md#forwarding and REST.ForwardTargets.
// Plain values and pure functions, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace appmesh::transport {

// "host", "host:port", "[v6]:port" or a bare IPv6 address. The host is in lower case and without brackets or a final
// dot, an address in its usual spelling.
struct Authority {
  std::string host;
  std::optional<std::uint16_t> port;

  // Error: invalid_argument that says what is wrong with the text, not where it came from.
  [[nodiscard]] static Result<Authority> parse(std::string_view text);
};
[[nodiscard]] std::string to_text(std::string_view host, std::uint16_t port);  // with brackets where they belong

// What this daemon is called, and whom it may forward to.
struct ForwardRules {
  std::uint16_t rest_port = 0;
  std::uint16_t tcp_port = 0;          // 0: not offered
  std::uint16_t websocket_port = 0;    // 0: not offered
  std::vector<std::string> own_hosts;  // names and addresses at which our own ports are this daemon
  std::vector<Authority> targets;      // one without a port stands for every port of the host
  std::function<bool(std::string_view host)> is_cluster_member;  // empty: no cluster
};

enum class ForwardKind : std::uint8_t { here, https, tcp };
struct ForwardRoute {
  ForwardKind kind = ForwardKind::here;
  std::string host;
  std::uint16_t port = 0;
};

// `over_http`: the request came over HTTPS, so that a missing port means our REST port; else it means our TCP port, as
// does one up to 1024. Our REST and WebSocket ports stand for HTTPS, any other for TCP. Errors: invalid_argument for a
// bad target, permission_denied for one that is not allowed.
[[nodiscard]] Result<ForwardRoute> find_forward_route(const ForwardRules& rules, std::string_view target,
                                                      bool over_http);

}  // namespace appmesh::transport

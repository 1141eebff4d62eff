// Requests that another daemon shall answer (header X-Target-Host, docs/wire.md#forwarding). Service asks
// before it looks for a route, so no handler knows of it. Owned by the daemon; called on every I/O thread at once.
#pragma once

#include <optional>

#include <boost/asio/awaitable.hpp>

#include "api/request.h"

namespace appmesh::api {

inline constexpr std::string_view kTargetHeader = "X-Target-Host";
inline constexpr std::string_view kHopsHeader = "X-Forward-Hops";

class Forwarder {
 public:
  virtual ~Forwarder() = default;

  // The other daemon's answer, or ours when it cannot be had: 400 bad target, 403 not allowed, 502 with the reason, 508
  // too many hops. Nothing when the target is this daemon. Waits without holding a thread; may take the body out of the
  // request when it answers.
  virtual boost::asio::awaitable<std::optional<Response>> forward(Request& request) = 0;
};

}  // namespace appmesh::api

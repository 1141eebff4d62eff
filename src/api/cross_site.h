// What browser pages of other origins may do: the CSRF rule of docs/wire.md#cookies and CORS of docs/wire.md#https.
// Pure functions over a policy, any thread. They concern HTTP only: the other transports carry no cookies.
#pragma once

#include <string>
#include <vector>

#include "api/request.h"

namespace appmesh::api {

struct CrossSitePolicy {
  bool cors_disabled = false;
  std::vector<std::string> allowed_origins;  // "https://console.example:8443"; compared without case
};

// False for a request that a browser sent with our cookie on behalf of a page of a foreign origin. For those that
// change something, and for a GET that goes on: a WebSocket, a stream, a long-poll.
[[nodiscard]] bool passes_csrf_rule(const CrossSitePolicy& policy, const Request& request);

// Lets an allowed origin read the response; does nothing for others.
void add_cors_headers(const CrossSitePolicy& policy, const Request& request, Response& response);

}  // namespace appmesh::api

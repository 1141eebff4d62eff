// What of a request goes on to another daemon, and what of its answer comes back. Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/request.h"
#include "transport/forward_target.h"

namespace appmesh::transport {

// Headers for the next daemon: without those of this connection (RFC 9110 section 7.6.1), the target, cookies and the
// origin, which are between the browser and us; a cookie's token becomes Authorization. `hops` counts this forward.
[[nodiscard]] std::vector<api::NameValue> forward_headers(const api::Request& request, unsigned hops);

// Request line and headers of HTTP/1.1, with the blank line. Nothing in the request can start a header of its own.
[[nodiscard]] std::string http_head(const api::Request& request, const ForwardRoute& route, unsigned hops);

// The headers that mean something to the caller; the others are between the two daemons.
[[nodiscard]] bool is_answer_header(std::string_view name);

[[nodiscard]] bool equal_no_case(std::string_view a, std::string_view b);

}  // namespace appmesh::transport

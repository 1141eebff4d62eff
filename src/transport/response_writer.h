// A response as HTTP/1.1 text, written into one string so that a small one leaves in one TLS record. Pure but for the
// Date header, which reads the clock; any thread.
#pragma once

#include <string>

#include "api/request.h"

namespace appmesh::transport {

struct ResponseStyle {
  bool keep_alive = true;
  bool http_1_0 = false;
  bool strict_transport_security = false;
};

// Status line and headers with the blank line; `out` is appended to. Control characters in header values become blanks,
// so that no value can start a header of its own. A stream of unknown length is announced as chunked, but not to
// HTTP/1.0, where the end of the connection is the end of the body.
void append_head(std::string& out, const api::Response& response, const ResponseStyle& style);

}  // namespace appmesh::transport

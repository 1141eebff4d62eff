// Requests of the library as messages in frames, and the answers out of them: what the shared connection and the
// connection of a file have in common. Pure functions, any thread.
#pragma once

#include <string>
#include <string_view>

#include <appmesh/transport.h>
#include <appmesh/wire/message.h>

namespace appmesh::detail {

// Frame and message but for the bytes of the body, which must follow. kUsage when it would be too long.
void append_message_head(std::string& out, std::string_view uuid, const Request& request);

// Header names in lower case; the type of the body is one of them.
Fields copy_headers(const wire::Response& message);
Response to_response(const wire::Response& message);

}  // namespace appmesh::detail

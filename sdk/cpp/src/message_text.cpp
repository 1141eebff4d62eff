#include "message_text.h"

#include <appmesh/error.h>
#include <appmesh/wire/frame.h>

namespace appmesh::detail {
namespace {

std::string lower_case(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

}  // namespace

void append_message_head(std::string& out, std::string_view uuid, const Request& request) {
  wire::Request message;
  message.uuid = uuid;
  message.request_uri = request.path;
  message.http_method = request.method;
  const std::size_t begin = out.size();
  wire::append_frame_header(out, 0);
  wire::append_request_head(out, message, request.headers, request.query,
                            static_cast<std::uint32_t>(request.body.size()));
  const std::size_t length = out.size() - begin - wire::kFrameHeaderBytes + request.body.size();
  if (length > wire::kMaxMessageBytes) {
    throw ClientError(ErrorKind::kUsage, "a message has at most " + std::to_string(wire::kMaxMessageBytes) + " bytes");
  }
  wire::write_frame_header(out.data() + begin, static_cast<std::uint32_t>(length));
}

Fields copy_headers(const wire::Response& message) {
  Fields headers;
  headers.reserve(message.headers.size() + 1);
  for (const auto& [name, value] : message.headers) headers.emplace_back(lower_case(name), value);
  if (!message.body_msg_type.empty()) headers.emplace_back("content-type", message.body_msg_type);
  return headers;
}

Response to_response(const wire::Response& message) {
  return {.status = message.http_status, .headers = copy_headers(message), .body = std::string(message.body)};
}

}  // namespace appmesh::detail

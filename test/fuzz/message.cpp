// A TCP connection's bytes: frames, and in each a request and a response. What is taken must come back when it is
// written.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>

using namespace appmesh::wire;

namespace {

void check(bool good) {
  if (!good) std::abort();
}

void try_message(std::string_view bytes) {
  Request request;
  if (parse_request(bytes, request).empty()) {
    std::string out;
    append_request_head(out, request, request.headers, request.query, static_cast<std::uint32_t>(request.body.size()));
    out += request.body;
    Request again;
    check(parse_request(out, again).empty());
    check(again.uuid == request.uuid && again.request_uri == request.request_uri && again.body == request.body);
    check(again.headers == request.headers && again.query == request.query);
  }
  Response response;
  if (parse_response(bytes, response).empty()) {
    std::string out;
    append_response_head(out, response, response.headers, static_cast<std::uint32_t>(response.body.size()));
    out += response.body;
    Response again;
    check(parse_response(out, again).empty());
    check(again.http_status == response.http_status && again.headers == response.headers);
  }
  MsgpackReader reader(bytes);
  if (reader.skip()) check(reader.position() <= bytes.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  try_message(rest);
  while (rest.size() >= kFrameHeaderBytes) {
    const auto length = read_frame_header(rest);
    if (!length || *length > kMaxMessageBytes || *length > rest.size() - kFrameHeaderBytes) break;
    try_message(rest.substr(kFrameHeaderBytes, *length));
    rest.remove_prefix(kFrameHeaderBytes + *length);
  }
  return 0;
}

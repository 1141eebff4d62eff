// An HTTP connection's bytes, fed in one piece and cut in two: both must be taken or refused alike.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "transport/request_parser.h"

using namespace appmesh::transport;

namespace {

struct Outcome {
  int status = 0;  // 0: not whole yet, 200: a request
  appmesh::api::Request request;
};

// As a connection does it: what was not taken comes again with more behind it.
Outcome feed(std::string_view bytes, std::size_t cut) {
  RequestParser parser({.header_bytes = 2000, .header_count = 20, .body_bytes = 3000});
  std::string input;
  for (const std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    input.append(part);
    const auto used = parser.feed(input);
    if (!used) return {used.error().status, {}};
    if (*used > input.size()) std::abort();
    input.erase(0, *used);
    if (parser.done()) return {200, parser.take()};
  }
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = feed(bytes, bytes.size());
  const Outcome cut = feed(bytes, std::min<std::size_t>(data[0], bytes.size()));
  if (whole.status == 200) {
    if (cut.status != 200 || cut.request.body != whole.request.body || cut.request.path != whole.request.path ||
        cut.request.headers != whole.request.headers) {
      std::abort();
    }
    if (whole.request.body.size() > 3000 || whole.request.headers.size() > 20) std::abort();
  }
  return 0;
}

// A multipart body, fed in one piece and cut in two: both must give the same file, or both be refused.
#include "api/multipart.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

using namespace appmesh::api;

namespace {

// Nothing: refused.
std::optional<std::string> parse(std::string_view bytes, std::size_t cut) {
  MultipartParser parser("b");
  std::string file;
  for (const std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    parser.feed(part);
    for (;;) {
      const auto data = parser.next();
      if (!data) return std::nullopt;
      if (data->empty()) break;
      file += *data;
    }
  }
  if (!parser.finish()) return std::nullopt;
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  static_cast<void>(multipart_boundary(bytes));
  const auto whole = parse(bytes, bytes.size());
  if (whole && whole->size() > bytes.size()) std::abort();
  if (parse(bytes, std::min<std::size_t>(data[0], bytes.size())) != whole) std::abort();
  return 0;
}

// The Range header of a download (RFC 9110 section 14). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace appmesh::api {

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

enum class RangeKind : std::uint8_t { whole, part, unsatisfiable };

struct RangeAnswer {
  RangeKind kind = RangeKind::whole;
  ByteRange range;
};

// What to send of `size_bytes`. Several ranges, another unit or a malformed header mean the whole, as the RFC allows;
// a single range that lies behind the end is unsatisfiable.
[[nodiscard]] RangeAnswer range_of(std::optional<std::string_view> header, std::uint64_t size_bytes);

}  // namespace appmesh::api

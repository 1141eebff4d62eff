#include "runtime/run_id.h"

#include <algorithm>

#include "platform/random.h"

namespace appmesh::runtime {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

RunId RunId::random() {
  RunId id;
  platform::fill_random(id.raw.bytes);
  return id;
}

std::optional<RunId> RunId::parse(std::string_view hex) {
  if (hex.size() != 2 * sizeof(keeper::RunId::bytes)) return std::nullopt;
  RunId id;
  for (std::size_t i = 0; i < sizeof id.raw.bytes; ++i) {
    const int high = hex_value(hex[2 * i]);
    const int low = hex_value(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.raw.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return id;
}

std::string RunId::text() const {
  std::string hex;
  hex.reserve(2 * sizeof raw.bytes);
  for (const std::uint8_t byte : raw.bytes) {
    hex.push_back(kHexDigits[byte >> 4]);
    hex.push_back(kHexDigits[byte & 15]);
  }
  return hex;
}

}  // namespace appmesh::runtime

// The 128-bit random name of one run: the keeper's key and the process_uuid of the wire (32 hex digits). A value, any
// thread.
#pragma once

#include <compare>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "keeper/protocol.h"

namespace appmesh::runtime {

struct RunId {
  keeper::RunId raw{};

  [[nodiscard]] static RunId random();
  [[nodiscard]] static std::optional<RunId> parse(std::string_view hex);
  [[nodiscard]] std::string text() const;

  friend bool operator==(const RunId&, const RunId&) = default;
};

struct RunIdHash {
  std::size_t operator()(const RunId& id) const noexcept {
    std::size_t value = 0;
    std::memcpy(&value, id.raw.bytes, sizeof value);
    return value;
  }
};

}  // namespace appmesh::runtime

// Who may touch an app: the two ownership digits of docs/wire.md#access. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace appmesh::core {

enum class Access : std::uint8_t { read, write };

struct Caller {
  std::string_view user;
  std::string_view group;
};

struct Ownership {
  std::string_view owner;        // empty: the app is open to all
  std::string_view owner_group;  // group of the owner now
  std::uint32_t permission = 0;
};

// `admin` and the owner bypass; same non-empty group uses the ones digit, everybody else the tens digit; 0 allows.
[[nodiscard]] bool may_access(const Caller& caller, const Ownership& app, Access access);

}  // namespace appmesh::core

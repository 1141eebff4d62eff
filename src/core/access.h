// Who may touch an app: the two ownership digits of docs/wire.md#access. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace appmesh::core {

enum class Access : std::uint8_t { read, write };

// Whom an app belongs to, as its definition says it: the name of a user, and behind a '/', which no name holds, the id
// of an account that a name was given to later. So what a deleted user owned is not their namesake's.
[[nodiscard]] constexpr std::string_view name_of_owner(std::string_view owner) {
  return owner.substr(0, owner.find('/'));
}

struct Caller {
  std::string_view user;  // as an owner
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

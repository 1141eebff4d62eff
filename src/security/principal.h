// Who is calling: the user behind a verified token, as the user directory knows him now. An immutable value behind a
// shared pointer; any thread. A request holds one and never asks the directory again.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/access.h"
#include "core/error.h"

namespace appmesh::security {

struct Principal {
  std::string user;
  std::string as_owner;  // what the definitions of this user's apps say
  std::string group;
  std::string exec_user;                 // OS user of this user's apps; empty: the daemon's default
  std::vector<std::string> roles;        // names, as the user has them
  std::vector<std::string> permissions;  // union of the roles' permissions, sorted

  [[nodiscard]] bool may(std::string_view permission) const {
    return std::ranges::binary_search(permissions, permission, std::less<>{});
  }
  // For the ownership rule of apps (core/access.h). Valid as long as this principal.
  [[nodiscard]] core::Caller caller() const { return {.user = as_owner, .group = group}; }
};

// Error permission_denied with the text of docs/wire.md#rest.
[[nodiscard]] Result<void> require_permission(const Principal& principal, std::string_view permission);

}  // namespace appmesh::security

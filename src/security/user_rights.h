// Who may change what of users and roles (docs/access.md#users-and-roles): nobody gives or takes what they lack, and
// nobody leaves an installation without an administrator. Pure functions over the state as it is at the moment of the
// change, so they are called with the directory's lock; any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "security/principal.h"
#include "security/user_directory.h"

namespace appmesh::security {

using UserMap = std::map<std::string, User, std::less<>>;

// As a change begins. The caller's permissions are those of this moment, not those that let the request in.
struct RightsState {
  const UserMap& users;
  const RoleMap& roles;
};

// Error permission_denied, which names what the caller lacks. `before`: null for a new user.
[[nodiscard]] Result<void> check_user_change(const RightsState& state, const Actor& actor, const User* before,
                                             const User& after);
// `permissions`: empty when the role is to go; sorted. Errors: permission_denied; invalid_argument for an id that
// exists nowhere, with the nearest that does.
[[nodiscard]] Result<void> check_role_change(const RightsState& state, const Actor& actor, std::string_view role,
                                             const std::vector<std::string>& permissions);

// Error invalid_argument when the change would leave nobody who can give permissions: the user admin where there is
// one, else any user who can log in.
[[nodiscard]] Result<void> keeps_administrator(const RightsState& before, const RightsState& after);

}  // namespace appmesh::security

// Finding the app that a request names, and whether its caller may read or change it: section 3.3 of the wire contract.
// Any thread.
#pragma once

#include <string>

#include "core/access.h"
#include "core/error.h"
#include "engine/app_view.h"
#include "security/user_directory.h"

namespace appmesh::api {

[[nodiscard]] bool may_access(const security::UserDirectory& users, const security::Principal& caller,
                              const core::AppDefinition& app, core::Access access);

// Errors: not_found, permission_denied with the text of section 2.0.
[[nodiscard]] Result<engine::AppViewPtr> find_app(const engine::AppDirectory& apps,
                                                  const security::UserDirectory& users,
                                                  const security::Principal& caller, const std::string& name,
                                                  core::Access access);
[[nodiscard]] Error no_such_app(std::string_view name);

}  // namespace appmesh::api

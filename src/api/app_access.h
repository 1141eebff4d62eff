// Finding the app that a request names, and whether its caller may read or change it: docs/wire.md#access.
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

// Errors: not_found, permission_denied with the text of docs/wire.md#rest.
[[nodiscard]] Result<engine::AppViewPtr> find_app(const engine::AppDirectory& apps,
                                                  const security::UserDirectory& users,
                                                  const security::Principal& caller, const std::string& name,
                                                  core::Access access);
[[nodiscard]] Error no_such_app(std::string_view name);

}  // namespace appmesh::api

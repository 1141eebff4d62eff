// Who may change what of an app, and whose secrets go with it: docs/decisions/0020-owners-and-secrets.md. Any thread.
#pragma once

#include <functional>
#include <string>

#include "core/app_definition.h"
#include "core/error.h"
#include "engine/app_view.h"
#include "security/principal.h"

namespace appmesh::api {

using OsUserOf = std::function<Result<std::string>(const std::string& owner)>;

// The owner of the app or the administrator: its secrets are theirs to use.
[[nodiscard]] bool owns(const security::Principal& caller, const core::AppDefinition& app);

// A PUT onto an app that the caller may write: sets the owner of `put`, which stays who it was. Errors:
// permission_denied when it would run otherwise with the rights or the secrets of somebody else.
[[nodiscard]] Result<void> check_edit(const engine::AppView& app, const security::Principal& caller,
                                      const OsUserOf& os_user, core::AppDefinition& put);

// The app for another owner. Secrets go along only when the caller owns it. Errors: permission_denied when it would run
// as an OS user that is neither the app's nor the caller's.
[[nodiscard]] Result<core::AppDefinition> with_owner(const core::AppDefinition& app, const security::Principal& caller,
                                                     const OsUserOf& os_user, const std::string& owner);

}  // namespace appmesh::api

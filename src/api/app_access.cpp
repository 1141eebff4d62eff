#include "api/app_access.h"

#include <fmt/format.h>

namespace appmesh::api {

Error no_such_app(std::string_view name) {
  return {ErrorKind::not_found, fmt::format("No such application <{}> found", name), {}};
}

bool may_access(const security::UserDirectory& users, const security::Principal& caller, const core::AppDefinition& app,
                core::Access access) {
  // Most callers look at their own apps, or are the administrator: no need to look the owner up.
  if (app.owner.empty() || app.owner == caller.as_owner || caller.user == security::kAdmin) return true;
  const auto snapshot = users.snapshot();
  const security::User* owner = snapshot->find_owner(app.owner);
  return core::may_access(caller.caller(),
                          {.owner = app.owner,
                           .owner_group = owner == nullptr ? std::string_view{} : std::string_view(owner->group),
                           .permission = app.permission},
                          access);
}

Result<engine::AppViewPtr> find_app(const engine::AppDirectory& apps, const security::UserDirectory& users,
                                    const security::Principal& caller, const std::string& name, core::Access access) {
  auto app = apps.find(name);
  if (app == nullptr) return std::unexpected(no_such_app(name));
  if (!may_access(users, caller, *app->definition, access))
    return fail(ErrorKind::permission_denied, fmt::format("User <{}> is not allowed to <{}> app <{}>", caller.user,
                                                          access == core::Access::read ? "VIEW" : "EDIT", name));
  return app;
}

}  // namespace appmesh::api

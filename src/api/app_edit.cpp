#include "api/app_edit.h"

#include <utility>

#include <fmt/format.h>

#include "core/access.h"
#include "core/app_authority.h"
#include "security/user_directory.h"

namespace appmesh::api {

namespace {

bool has_secrets(const core::AppDefinition& app) {
  return app.sec_env && !app.sec_env->empty();
}

}  // namespace

bool owns(const security::Principal& caller, const core::AppDefinition& app) {
  return app.owner == caller.as_owner || caller.user == security::kAdmin;
}

Result<void> check_edit(const engine::AppView& app, const security::Principal& caller, const OsUserOf& os_user,
                        core::AppDefinition& put) {
  const core::AppDefinition& before = *app.definition;
  // What nobody owns runs on the account of whoever defines it next.
  put.owner = before.owner.empty() ? caller.as_owner : before.owner;
  if (owns(caller, before)) return {};
  const bool attaches = put.pid != 0 && put.pid != app.pid;
  if (!attaches && !core::runs_otherwise(before, core::keep_stored_fields(before, put))) return {};

  const auto theirs = os_user(put.owner);
  const auto own = os_user(caller.as_owner);
  if (!theirs || !own || *theirs != *own)
    return fail(
        ErrorKind::permission_denied,
        fmt::format("Application <{}> runs as the OS user of its owner <{}>, which is not that of <{}>: what it "
                    "runs is for its owner to change",
                    before.name, core::name_of_owner(put.owner), caller.user));
  if (has_secrets(before) && !put.sec_env)
    return fail(
        ErrorKind::permission_denied,
        fmt::format("Application <{}> has secret variables of its owner <{}>: give sec_env of your own, or {{}}, "
                    "to change what it runs",
                    before.name, core::name_of_owner(before.owner)));
  return {};
}

Result<core::AppDefinition> with_owner(const core::AppDefinition& app, const security::Principal& caller,
                                       const OsUserOf& os_user, const std::string& owner) {
  core::AppDefinition given = app;
  given.owner = owner;
  given.pid = 0;
  if (owns(caller, app)) {
    if (caller.user == security::kAdmin) return given;
  } else if (has_secrets(given)) {
    given.sec_env.emplace();
  }
  const auto next = os_user(owner);
  if (!next) return std::unexpected(next.error());
  for (const std::string& known : {app.owner, caller.as_owner})
    if (const auto same = os_user(known); same && *same == *next) return given;
  return fail(
      ErrorKind::permission_denied,
      fmt::format("Application <{}> would run as the OS user of <{}>, which is neither its own nor that of <{}>",
                  app.name, core::name_of_owner(owner), caller.user));
}

}  // namespace appmesh::api

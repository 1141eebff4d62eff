#include "security/user_rights.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "core/text.h"
#include "security/permissions.h"

namespace appmesh::security {
namespace {

// With these two, a caller who may give everything gives themselves the rest.
constexpr std::string_view kAddUsers = "user-add";
constexpr std::string_view kSetRoles = "role-set";

using Names = std::set<std::string, std::less<>>;

Names permissions_of(const RoleMap& roles, const std::vector<std::string>& names) {
  Names permissions;
  for (const auto& name : names)
    if (const auto found = roles.find(name); found != roles.end())
      permissions.insert(found->second.begin(), found->second.end());
  return permissions;
}

std::unexpected<Error> denied(const Actor& actor, std::string_view reason) {
  return fail(ErrorKind::permission_denied, fmt::format("Permission denied: user '{}' {}", actor.user, reason));
}

Result<Names> own_permissions(const RightsState& state, const Actor& actor) {
  const auto self = state.users.find(actor.user);
  if (self == state.users.end() || self->second.locked)
    return fail(ErrorKind::unauthenticated, fmt::format("User {} was deleted or locked at the same time", actor.user));
  return permissions_of(state.roles, self->second.roles);
}

Result<void> require(const Actor& actor, const Names& own, std::string_view permission) {
  if (own.contains(permission)) return {};
  return denied(actor, fmt::format("lacks required permission '{}'", permission));
}

// Both directions: who cannot give a permission cannot take it either.
Result<void> check_difference(const Actor& actor, const Names& own, const Names& before, const Names& after) {
  Names changed;
  std::ranges::set_symmetric_difference(before, after, std::inserter(changed, changed.end()));
  for (const auto& permission : changed)
    if (!own.contains(permission))
      return denied(actor, fmt::format("cannot give or take the permission '{}', which they lack", permission));
  return {};
}

Result<void> check_roles(const RightsState& state, const Actor& actor, const Names& own, const User* before,
                         const User& after) {
  static const std::vector<std::string> kNone;
  const auto& had = before == nullptr ? kNone : before->roles;
  // Role by role: a permission that another of the user's roles gives as well is taken or given all the same.
  Names given(had.begin(), had.end());
  const Names wanted(after.roles.begin(), after.roles.end());
  Names changed;
  std::ranges::set_symmetric_difference(given, wanted, std::inserter(changed, changed.end()));
  return check_difference(actor, own, {},
                          permissions_of(state.roles, std::vector<std::string>(changed.begin(), changed.end())));
}

Result<void> check_group(const RightsState& state, const Actor& actor, const User* before, const User& after) {
  if (after.group.empty() || (before != nullptr && before->group == after.group)) return {};
  const auto self = state.users.find(actor.user);
  if (self->second.group == after.group) return {};
  const bool is_new =
      std::ranges::none_of(state.users, [&](const auto& entry) { return entry.second.group == after.group; });
  if (is_new) return {};
  return denied(actor, fmt::format("cannot put anybody into the group '{}', which they are not in", after.group));
}

Result<void> check_exec_user(const RightsState& state, const Actor& actor, const User* before, const User& after) {
  if ((before == nullptr ? std::string{} : before->exec_user) == after.exec_user) return {};
  // An account that has apps would run them under an OS user whose processes the caller may look into.
  if (before == nullptr && state.users.find(actor.user)->second.exec_user == after.exec_user) return {};
  return denied(actor, before == nullptr ? "cannot give exec_user: it is neither empty nor their own"
                                         : "cannot change exec_user: only admin can, of a user who exists");
}

Result<void> check_switches(const Actor& actor, const Names& own, const User& before, const User& after) {
  if (before.locked != after.locked)
    if (auto may = require(actor, own, after.locked ? "user-lock" : "user-unlock"); !may) return may;
  if (before.mfa_enabled == after.mfa_enabled) return {};
  return require(actor, own, "user-totp-disable");
}

std::string not_a_permission(std::string_view id) {
  const std::string_view nearest = core::nearest_word(id, kPermissions);
  return nearest.empty()
             ? fmt::format("no permission is called '{}'", core::printable(id))
             : fmt::format("no permission is called '{}': did you mean '{}'?", core::printable(id), nearest);
}

bool can_give(const RightsState& state, const User& user) {
  if (user.locked) return false;
  const Names permissions = permissions_of(state.roles, user.roles);
  return permissions.contains(kAddUsers) && permissions.contains(kSetRoles);
}

bool has_administrator(const RightsState& state) {
  if (const auto admin = state.users.find(kAdmin); admin != state.users.end()) return can_give(state, admin->second);
  return std::ranges::any_of(
      state.users, [&](const auto& entry) { return !entry.second.key.empty() && can_give(state, entry.second); });
}

}  // namespace

Result<void> check_user_change(const RightsState& state, const Actor& actor, const User* before, const User& after) {
  if (actor.is_daemon()) return {};
  const auto own = own_permissions(state, actor);
  if (!own) return std::unexpected(own.error());
  if (after.name == kAdmin && before == nullptr)
    return denied(actor, "cannot make the user admin: only security.yaml can");
  if (before != nullptr && before->mfa_enabled && !after.mfa_enabled && actor.user == after.name)
    return denied(actor, "cannot switch off their own second factor here: POST /appmesh/totp/self/disable does");
  // Else nobody could give what no role holds yet.
  if (actor.user == kAdmin) return before == nullptr ? Result<void>{} : check_switches(actor, *own, *before, after);
  if (after.name == kAdmin) return denied(actor, "cannot change the user admin: only admin can");
  if (auto may = check_roles(state, actor, *own, before, after); !may) return may;
  if (auto may = check_group(state, actor, before, after); !may) return may;
  if (auto may = check_exec_user(state, actor, before, after); !may) return may;
  return before == nullptr ? Result<void>{} : check_switches(actor, *own, *before, after);
}

Result<void> check_role_change(const RightsState& state, const Actor& actor, std::string_view role,
                               const std::vector<std::string>& permissions) {
  const auto found = state.roles.find(role);
  const Names before = found == state.roles.end() ? Names{} : Names(found->second.begin(), found->second.end());
  for (const auto& permission : permissions)
    // An id that an older file has put into the role does not keep it from being changed.
    if (!is_known_permission(permission) && !before.contains(permission))
      return fail(ErrorKind::invalid_argument, fmt::format("role {}: {}", role, not_a_permission(permission)));
  if (actor.is_daemon()) return {};
  const auto own = own_permissions(state, actor);
  if (!own) return std::unexpected(own.error());
  if (actor.user == kAdmin) return {};
  return check_difference(actor, *own, before, Names(permissions.begin(), permissions.end()));
}

Result<void> keeps_administrator(const RightsState& before, const RightsState& after) {
  if (!has_administrator(before) || has_administrator(after)) return {};
  return fail(
      ErrorKind::invalid_argument,
      fmt::format("{} would lose {} or {}, and nobody could give them back",
                  after.users.contains(kAdmin) ? "User admin" : "The last administrator", kAddUsers, kSetRoles));
}

}  // namespace appmesh::security

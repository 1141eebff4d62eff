#include "api/user_routes.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <appmesh/wire/json_text.h>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

#include "api/text_checks.h"
#include "core/text.h"
#include "platform/clock.h"
#include "security/passwords.h"
#include "security/tokens.h"
#include "store/base64.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr const char* kTag = "Users";

json::array to_array(const std::vector<std::string>& values) {
  return json::array(values.begin(), values.end());
}

std::unexpected<Error> wrong(std::string_view field, std::string_view reason) {
  return fail(ErrorKind::invalid_argument, std::string(field) + ": " + std::string(reason));
}

// Null is absent, docs/wire.md#rest.
const json::value* field_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<void> read_text(const json::object& object, std::string_view name, std::optional<std::string>& out) {
  const json::value* value = field_of(object, name);
  if (value == nullptr) return {};
  if (!value->is_string()) return wrong(name, "must be a string");
  out = value->get_string();
  return {};
}

Result<void> read_flag(const json::object& object, std::string_view name, std::optional<bool>& out) {
  const json::value* value = field_of(object, name);
  if (value == nullptr) return {};
  if (!value->is_bool()) return wrong(name, "must be true or false");
  out = value->get_bool();
  return {};
}

Result<std::vector<std::string>> read_names(const json::value& value, std::string_view name) {
  if (!value.is_array()) return wrong(name, "must be an array of strings");
  std::vector<std::string> names;
  for (const auto& item : value.get_array()) {
    if (!item.is_string()) return wrong(name, "must be an array of strings");
    names.emplace_back(item.get_string());
  }
  return names;
}

// `source` is the text of `body`: metadata that is no text stays as it was written.
Result<security::UserChange> read_user(const json::object& body, std::string_view source) {
  if (auto known = refuse_unknown_fields(
          body, {"name", "key", "email", "group", "exec_user", "locked", "mfa_enabled", "metadata", "roles"},
          {"id", "mfa_key", "token_epoch", "audience"});
      !known)
    return std::unexpected(known.error());
  security::UserChange user;
  for (auto [name, target] : {std::pair{"email", &user.email},
                              {"group", &user.group},
                              {"exec_user", &user.exec_user},
                              {"key", &user.password}}) {
    if (auto read = read_text(body, name, *target); !read) return std::unexpected(read.error());
  }
  for (auto [name, target] : {std::pair{"locked", &user.locked}, {"mfa_enabled", &user.mfa_enabled}}) {
    if (auto read = read_flag(body, name, *target); !read) return std::unexpected(read.error());
  }
  if (const json::value* metadata = field_of(body, "metadata")) {
    user.metadata = metadata->is_string() ? std::string(metadata->get_string())
                                          : std::string(wire::member_text(source, "metadata").value_or("null"));
  }
  if (const json::value* roles = field_of(body, "roles")) {
    auto names = read_names(*roles, "roles");
    if (!names) return std::unexpected(names.error());
    user.roles = std::move(*names);
  }
  return user;
}

// Both passwords arrive as base64 text.
Result<std::string> read_password(const json::object& body, std::string_view name) {
  std::optional<std::string> encoded;
  if (auto read = read_text(body, name, encoded); !read) return std::unexpected(read.error());
  if (!encoded || encoded->empty()) return wrong(name, "is required");
  auto plain = store::from_base64(*encoded);
  security::wipe(*encoded);
  if (!plain) return wrong(name, "must be base64");
  if (!core::is_utf8(*plain)) return wrong(name, "must be the base64 of UTF-8 text");
  return std::move(*plain);
}

security::Actor actor_of(const Context& context) {
  return {.user = context.principal->user};
}

Response answer(const Result<void>& done, std::string_view success) {
  return done ? text_response(std::string(success)) : error_response(done.error());
}

asio::awaitable<Response> change_password(const UserRoutes& wiring, Context& context) {
  const security::Principal& caller = *context.principal;
  const std::string& named = context.variable("name");
  const std::string user = named == "self" ? caller.user : named;
  if (user != caller.user || !caller.may("passwd-change-self")) {
    const auto needed =
        user == caller.user && !caller.may("passwd-change-user") ? "passwd-change-self" : "passwd-change-user";
    if (auto allowed = security::require_permission(caller, needed); !allowed) {
      co_return error_response(allowed.error());
    }
  }
  const auto body = parse_json_object(context.request);
  if (!body) co_return error_response(body.error());
  if (auto known = refuse_unknown_fields(*body, {"old_password", "new_password"}); !known)
    co_return error_response(known.error());
  auto old_password = read_password(*body, "old_password");
  if (!old_password) co_return error_response(old_password.error());
  auto new_password = read_password(*body, "new_password");
  if (!new_password) co_return error_response(new_password.error());
  // Nothing of the user's apps has to be sealed again: their secrets are sealed with the key of this home, not with
  // anything that comes from a password.
  const auto done = co_await wiring.workers.run(
      [&users = wiring.users, user, before = std::move(*old_password), after = std::move(*new_password)]() mutable {
        auto changed = users.change_password(user, before, after, platform::wall_now());
        security::wipe(before);
        security::wipe(after);
        return changed;
      });
  co_return answer(done, "password changed success");
}

asio::awaitable<Response> put_user(const UserRoutes& wiring, Context& context) {
  const auto body = parse_json_object(context.request);
  if (!body) co_return error_response(body.error());
  auto user = read_user(*body, context.request.body);
  if (!user) co_return error_response(user.error());
  const auto done = co_await wiring.workers.run([&users = wiring.users, actor = actor_of(context),
                                                 name = context.variable("name"), user = std::move(*user)]() mutable {
    return users.put_user(actor, name, std::move(user), platform::wall_now());
  });
  co_return answer(done, "User add success");
}

asio::awaitable<Response> set_role(const UserRoutes& wiring, Context& context) {
  const auto body = parse_json_body(context.request);
  if (!body) co_return error_response(body.error());
  auto permissions = read_names(*body, "permissions");
  if (!permissions) co_return error_response(permissions.error());
  const auto done =
      co_await wiring.workers.run([&users = wiring.users, actor = actor_of(context), role = context.variable("name"),
                                   permissions = std::move(*permissions)]() mutable {
        return users.set_role(actor, role, std::move(permissions));
      });
  co_return answer(done, "Role update success");
}

// Routes that change one named thing and take no body.
template <typename Change>
Handler named_change(const UserRoutes& wiring, std::string success, Change change) {
  return [wiring, success = std::move(success), change](Context& context) -> asio::awaitable<Response> {
    const auto done =
        co_await wiring.workers.run([&users = wiring.users, actor = actor_of(context), name = context.variable("name"),
                                     change] { return change(users, actor, name); });
    co_return answer(done, success);
  };
}

// Routes that answer from the present snapshot.
template <typename View>
Handler view(const UserRoutes& wiring, View show) {
  return [wiring, show](Context& context) -> asio::awaitable<Response> {
    const auto snapshot = wiring.users.snapshot();
    co_return show(*snapshot, *context.principal);
  };
}

void add_changes(RouteTable& table, const UserRoutes& wiring) {
  using security::Actor;
  using security::UserDirectory;
  const std::vector<Answer> named{
      {200, "done", std::string(kTextType)}, {400, "names what is wrong"}, {404, "no such user"}};
  table.add({.method = Method::post,
             .pattern = "/appmesh/user/{name}/passwd",
             .requirement = Requirement::token(),  // passwd-change-self or passwd-change-user, by whose password it is
             .handler = [wiring](Context& context) { return change_password(wiring, context); },
             .summary = "Change a password; voids all tokens of the user. The name self is the caller",
             .tag = kTag,
             .request_type = std::string(kJsonType),
             .answers = named});
  table.add({.method = Method::post,
             .pattern = "/appmesh/user/{name}/lock",
             .requirement = Requirement::permission("user-lock"),
             .handler = named_change(wiring, "User lock success",
                                     [](UserDirectory& users, const Actor&, const std::string& name) {
                                       return users.set_locked(name, true);
                                     }),
             .summary = "Lock a user: no login, and no token of his is accepted",
             .tag = kTag,
             .answers = named});
  table.add({.method = Method::post,
             .pattern = "/appmesh/user/{name}/unlock",
             .requirement = Requirement::permission("user-unlock"),
             .handler = named_change(wiring, "User unlock success",
                                     [](UserDirectory& users, const Actor&, const std::string& name) {
                                       return users.set_locked(name, false);
                                     }),
             .summary = "Unlock a user",
             .tag = kTag,
             .answers = named});
  table.add({.method = Method::put,
             .pattern = "/appmesh/user/{name}",
             .requirement = Requirement::permission("user-add"),
             .handler = [wiring](Context& context) { return put_user(wiring, context); },
             .summary = "Add a user (needs key, the plain password) or change the given fields of one but key; some "
                        "fields need a permission of their own, and nobody gives what they lack",
             .tag = kTag,
             .request_type = std::string(kJsonType),
             .answers = {{200, "User add success", std::string(kTextType)},
                         {400, "names the field that is wrong"},
                         {403, "names the field, or what the caller lacks"}}});
  table.add({.method = Method::del,
             .pattern = "/appmesh/user/{name}",
             .requirement = Requirement::permission("user-delete"),
             .handler = named_change(
                 wiring, "User delete success",
                 [](UserDirectory& users, const Actor&, const std::string& name) { return users.delete_user(name); }),
             .summary = "Delete a user",
             .tag = kTag,
             .answers = named});
  table.add({.method = Method::post,
             .pattern = "/appmesh/role/{name}",
             .requirement = Requirement::permission("role-set"),
             .handler = [wiring](Context& context) { return set_role(wiring, context); },
             .summary = "Set the permissions of a role, a JSON array of ids; an empty one deletes the role",
             .tag = kTag,
             .request_type = std::string(kJsonType),
             .answers = {{200, "Role update success", std::string(kTextType)},
                         {400, "names what is wrong, such as an id that does not exist"},
                         {403, "names a permission that the caller lacks and so cannot give or take"}}});
  table.add({.method = Method::del,
             .pattern = "/appmesh/role/{name}",
             .requirement = Requirement::permission("role-delete"),
             .handler = named_change(wiring, "Role delete success",
                                     [](UserDirectory& users, const Actor& actor, const std::string& name) {
                                       return users.delete_role(actor, name);
                                     }),
             .summary = "Delete a role; also a success when there is none",
             .tag = kTag,
             .answers = {{200, "Role delete success", std::string(kTextType)}}});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the analyzer loses what initializer lists own

void add_views(RouteTable& table, const UserRoutes& wiring) {
  using security::Principal;
  using security::UserSnapshot;
  table.add({.method = Method::get,
             .pattern = "/appmesh/user/self",
             .requirement = Requirement::token(),
             .handler = view(wiring,
                             [](const UserSnapshot& snapshot, const Principal& caller) {
                               const security::User* user = snapshot.find(caller.user);
                               if (user == nullptr) {
                                 return error_response({ErrorKind::not_found, "No such user: " + caller.user, {}});
                               }
                               json::object body = user_json(*user);
                               // The table accepts tokens of this audience only.
                               body["audience"] = security::kServiceAudience;
                               return json_response(body);
                             }),
             .summary = "The calling user",
             .tag = kTag,
             .answers = {{200, "user object and audience"}}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/users",
             .requirement = Requirement::permission("user-list"),
             .handler = view(wiring,
                             [](const UserSnapshot& snapshot, const Principal&) {
                               json::object body;
                               for (const auto& [name, user] : snapshot.users()) body[name] = user_json(user);
                               return json_response(body);
                             }),
             .summary = "All users",
             .tag = kTag,
             .answers = {{200, "name to user object"}}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/roles",
             .requirement = Requirement::permission("role-view"),
             .handler = view(wiring,
                             [](const UserSnapshot& snapshot, const Principal&) {
                               json::object body;
                               for (const auto& [role, permissions] : snapshot.roles())
                                 body[role] = to_array(permissions);
                               return json_response(body);
                             }),
             .summary = "All roles",
             .tag = kTag,
             .answers = {{200, "role to array of permission ids"}}});
  table.add(
      {.method = Method::get,
       .pattern = "/appmesh/user/permissions",
       .requirement = Requirement::token(),
       .handler = view(wiring, [](const UserSnapshot&,
                                  const Principal& caller) { return json_response(to_array(caller.permissions)); }),
       .summary = "Permission ids of the caller",
       .tag = kTag,
       .answers = {{200, "array of permission ids"}}});
  table.add(
      {.method = Method::get,
       .pattern = "/appmesh/permissions",
       .requirement = Requirement::permission("permission-list"),
       .handler = view(wiring, [](const UserSnapshot& snapshot,
                                  const Principal&) { return json_response(to_array(snapshot.all_permissions())); }),
       .summary = "Permission ids of all roles",
       .tag = kTag,
       .answers = {{200, "array of permission ids"}}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/user/groups",
             .requirement = Requirement::token(),
             .handler = view(wiring, [](const UserSnapshot& snapshot,
                                        const Principal&) { return json_response(to_array(snapshot.groups())); }),
             .summary = "Groups of all users",
             .tag = kTag,
             .answers = {{200, "array of group names"}}});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): likewise

}  // namespace

json::object user_json(const security::User& user) {
  json::object body{{"name", user.name},
                    {"email", user.email},
                    {"group", user.group},
                    {"exec_user", user.exec_user},
                    {"locked", user.locked},
                    {"mfa_enabled", user.mfa_enabled},
                    {"roles", to_array(user.roles)}};
  if (!user.id.empty()) body["id"] = user.id;
  if (user.metadata) body["metadata"] = *user.metadata;
  if (user.token_epoch != 0) body["token_epoch"] = user.token_epoch;
  return body;
}

void add_user_routes(RouteTable& table, UserRoutes wiring) {
  add_changes(table, wiring);
  add_views(table, wiring);
}

}  // namespace appmesh::api

// Users, roles, permissions and groups: docs/wire.md#users. What they are given must outlive the route
// table; the handlers run on any I/O thread and do their hashing and disk work on the workers.
#pragma once

#include <boost/json/object.hpp>

#include "api/password_workers.h"
#include "api/router.h"
#include "security/user_directory.h"

namespace appmesh::api {

struct UserRoutes {
  security::UserDirectory& users;
  PasswordWorkers& workers;
};

void add_user_routes(RouteTable& table, UserRoutes wiring);

// A user as the wire shows it: never with key or mfa_key.
[[nodiscard]] boost::json::object user_json(const security::User& user);

}  // namespace appmesh::api

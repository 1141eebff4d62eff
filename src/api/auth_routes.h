// Login, token check, renewal and logoff: section 2.1 of the wire contract. What they are given must outlive the route
// table; the handlers run on any I/O thread, hash on the workers, and answer a revocation only when it is durable.
#pragma once

#include "api/password_workers.h"
#include "api/router.h"
#include "security/tokens.h"
#include "security/user_directory.h"

namespace appmesh::api {

struct AuthRoutes {
  security::UserDirectory& users;
  security::Tokens& tokens;
  PasswordWorkers& workers;
};

void add_auth_routes(RouteTable& table, AuthRoutes wiring);

}  // namespace appmesh::api

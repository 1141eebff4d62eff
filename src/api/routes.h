// The whole route table in one place, so that the daemon serves what docs/openapi.yaml describes. Called once at start.
#pragma once

#include <string_view>

#include "api/app_routes.h"
#include "api/audit_routes.h"
#include "api/auth_routes.h"
#include "api/config_routes.h"
#include "api/file_routes.h"
#include "api/pty_routes.h"
#include "api/router.h"
#include "api/user_routes.h"

namespace appmesh::api {

// Everything named here must outlive the table.
struct Wiring {
  AuthRoutes auth;
  AppRoutes apps;
  UserRoutes users;
  ConfigRoutes config;
  FileRoutes files;
  PtyRoutes shell;
  AuditRoutes audit;
};

[[nodiscard]] RouteTable make_route_table(const Wiring& wiring, std::string_view version);

}  // namespace appmesh::api

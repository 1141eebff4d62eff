// A terminal on this host over a WebSocket: docs/shell.md. What it is given must outlive the route table; any I/O
// thread.
#pragma once

#include <functional>
#include <string>

#include "api/router.h"
#include "engine/engine.h"
#include "security/audit.h"

namespace appmesh::api {

struct PtyRoutes {
  engine::Engine& engine;
  security::AuditTrail& audit;
  std::function<Result<std::string>(const std::string& owner)> os_user;  // whom the runs of a user are
};

void add_pty_routes(RouteTable& table, PtyRoutes wiring);

}  // namespace appmesh::api

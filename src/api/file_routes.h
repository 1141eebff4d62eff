// Files of the host: docs/wire.md#files, #tcp-files and #websocket. What the routes are given must outlive the table.
#pragma once

#include <functional>
#include <string>

#include "api/file_store.h"
#include "api/file_tokens.h"
#include "api/file_workers.h"
#include "api/router.h"

namespace appmesh::api {

struct FileRoutes {
  FileStore& store;
  FileWorkers& workers;
  FileTokens& tokens;
  std::function<Result<std::string>(const std::string& owner)> os_user;  // whom a caller acts as
};

void add_file_routes(RouteTable& table, FileRoutes wiring);

}  // namespace appmesh::api

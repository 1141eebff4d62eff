// Routes of the daemon's configuration, its labels and the host's resources: docs/wire.md#host. What
// they are given must outlive the route table; the handlers run on any I/O thread and do their disk work on the worker
// executor.
#pragma once

#include <functional>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/json/object.hpp>

#include "api/router.h"
#include "security/audit.h"
#include "store/configuration.h"

namespace appmesh::api {

struct ConfigRoutes {
  store::Configuration& configuration;
  security::AuditTrail& audit;
  boost::asio::any_io_executor worker;
  std::function<boost::json::object()> resources;  // called on the worker
  std::function<std::string()> metrics;            // likewise
};

void add_config_routes(RouteTable& table, ConfigRoutes wiring);

}  // namespace appmesh::api

// The audit trail as it is stored. What it is given must outlive the route table; any I/O thread.
#pragma once

#include <boost/asio/any_io_executor.hpp>

#include "api/router.h"
#include "store/state_store.h"

namespace appmesh::api {

struct AuditRoutes {
  store::StateStore& states;
  boost::asio::any_io_executor worker;  // reading blocks
};

void add_audit_routes(RouteTable& table, AuditRoutes wiring);

}  // namespace appmesh::api

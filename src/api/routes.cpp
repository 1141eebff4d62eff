#include "api/routes.h"

#include "api/openapi.h"

namespace appmesh::api {

RouteTable make_route_table(const Wiring& wiring, std::string_view version) {
  RouteTable table;
  add_auth_routes(table, wiring.auth);
  add_app_routes(table, wiring.apps);
  add_output_routes(table, wiring.apps);
  add_run_routes(table, wiring.apps);
  add_schedule_routes(table, wiring.apps);
  add_task_routes(table, wiring.apps);
  add_event_routes(table, wiring.apps);
  add_user_routes(table, wiring.users);
  add_config_routes(table, wiring.config);
  add_file_routes(table, wiring.files);
  add_pty_routes(table, wiring.shell);
  add_audit_routes(table, wiring.audit);
  add_document_routes(table, version);  // last: it describes the ones before
  return table;
}

}  // namespace appmesh::api

#include "security/audit.h"

#include <appmesh/wire/json_text.h>
#include <boost/json/object.hpp>

#include "platform/clock.h"

namespace appmesh::security {

void AuditTrail::note(const AuditEvent& event) {
  boost::json::object record{{"action", event.action}, {"user", event.user}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) record[name] = value;
  };
  add("peer", event.peer);
  add("app", event.app);
  add("process_uuid", event.run_id);
  add("os_user", event.os_user);
  add("detail", event.detail);
  if (event.exit_code) record["exit_code"] = *event.exit_code;
  states_.audit({platform::wall_now(), wire::write_json(record)});
}

}  // namespace appmesh::security

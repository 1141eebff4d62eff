#include "core/app_authority.h"

namespace appmesh::core {

bool runs_otherwise(const AppDefinition& from, const AppDefinition& to) {
  return needs_restart(from, to) || from.health_check_cmd != to.health_check_cmd;
}

bool same_authority(const AppDefinition& a, const AppDefinition& b) {
  return a.owner == b.owner && a.sec_env == b.sec_env && !runs_otherwise(a, b);
}

}  // namespace appmesh::core

#include "security/principal.h"

#include <fmt/format.h>

namespace appmesh::security {

Result<void> require_permission(const Principal& principal, std::string_view permission) {
  if (principal.may(permission)) return {};
  return fail(ErrorKind::permission_denied,
              fmt::format("Permission denied: user '{}' lacks required permission '{}'", principal.user, permission));
}

}  // namespace appmesh::security

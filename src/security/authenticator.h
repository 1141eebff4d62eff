// What a request's token is worth: the one question that every route with a permission asks. The table of routes calls
// it through this interface, so that tests and other identity sources can stand in. Any thread; must not block.
#pragma once

#include <memory>
#include <string_view>

#include "core/error.h"
#include "security/principal.h"

namespace appmesh::security {

inline constexpr std::string_view kServiceAudience = "appmesh-service";
inline constexpr std::string_view kFileAudience = "appmesh-file-service";
inline constexpr std::string_view kRefreshAudience = "appmesh-refresh";

class Authenticator {
 public:
  virtual ~Authenticator() = default;

  // `token` is the raw JWT, without "Bearer ". Errors: unauthenticated (empty, bad signature, expired, wrong audience,
  // revoked, locked user), not_found (the user is gone).
  [[nodiscard]] virtual Result<std::shared_ptr<const Principal>> authenticate(std::string_view token,
                                                                              std::string_view audience) = 0;
};

// Error permission_denied with the text of section 2.0 of the wire contract.
[[nodiscard]] Result<void> require_permission(const Principal& principal, std::string_view permission);

}  // namespace appmesh::security

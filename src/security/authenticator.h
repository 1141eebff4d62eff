// What a request's token is worth: the one question that every route with a permission asks. The table of routes asks
// it through this interface, so that tests and other identity sources can stand in. Any thread, all I/O threads at
// once; must neither block nor hash passwords.
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
  // revoked, locked user), not_found (the user is gone); the message goes to the caller. Never a null principal.
  [[nodiscard]] virtual Result<std::shared_ptr<const Principal>> authenticate(std::string_view token,
                                                                              std::string_view audience) = 0;
};

}  // namespace appmesh::security

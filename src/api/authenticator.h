// Who a token belongs to: the one thing that the route table asks of the security room. Owned by the daemon; called on
// every I/O thread at once, once for each request that needs a token, so it must neither block nor hash passwords.
#pragma once

#include <memory>
#include <string_view>

#include "core/error.h"
#include "security/principal.h"
#include "security/tokens.h"

namespace appmesh::api {

struct Caller {
  std::shared_ptr<const security::Principal> principal;  // never null
  std::shared_ptr<const security::Claims> claims;        // of the token
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // Errors: unauthenticated (bad, expired, revoked, locked), not_found (the user is gone); the message goes to the
  // caller.
  virtual Result<Caller> authenticate(std::string_view token) = 0;
};

}  // namespace appmesh::api

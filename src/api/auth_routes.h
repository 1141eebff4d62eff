// Login, token check, renewal and logoff: docs/wire.md#authentication. What they are given must outlive the route
// table; the handlers run on any I/O thread, hash on the workers, and answer a revocation only when it is durable.
#pragma once

#include <memory>

#include "api/long_requests.h"
#include "api/password_workers.h"
#include "api/pending_logins.h"
#include "api/router.h"
#include "security/tokens.h"
#include "security/totp.h"
#include "security/user_directory.h"

namespace appmesh::api {

struct AuthRoutes {
  security::UserDirectory& users;
  security::Tokens& tokens;
  PasswordWorkers& workers;
  security::Totp& totp;
  LongRequests& long_requests;
  std::shared_ptr<PendingLogins> pending = std::make_shared<PendingLogins>();
};

void add_auth_routes(RouteTable& table, AuthRoutes wiring);

// The second factor: setting it up, answering a login's challenge with it, giving it up. Part of add_auth_routes().
void add_totp_routes(RouteTable& table, const AuthRoutes& wiring);
struct Session;
// The 428 that asks for the code of a login whose password was right.
[[nodiscard]] Response totp_challenge(const AuthRoutes& wiring, Session session);

}  // namespace appmesh::api

// The authenticator of local identities: tokens of the security room for the audience of the REST interface. Owned by
// the daemon; any thread, never blocks.
#pragma once

#include "api/authenticator.h"
#include "platform/clock.h"
#include "security/tokens.h"

namespace appmesh::api {

class TokenAuthenticator final : public Authenticator {
 public:
  // `tokens` must outlive it.
  explicit TokenAuthenticator(security::Tokens& tokens) : tokens_(tokens) {}

  Result<Caller> authenticate(std::string_view token) override {
    auto verified = tokens_.verify(token, security::kServiceAudience, platform::wall_now());
    if (!verified) return std::unexpected(std::move(verified.error()));
    return Caller{.principal = std::move(verified->principal), .claims = std::move(verified->claims)};
  }

 private:
  security::Tokens& tokens_;
};

}  // namespace appmesh::api

// Tokens for one file transfer (docs/wire.md#websocket): asked for over a WebSocket, shown once over HTTPS.
// Each is good for 30 seconds, one use, one user, one path and one direction; what it is good for is remembered here
// and dies with the daemon. Owned by the daemon; any thread, nothing blocks.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "api/file_store.h"
#include "api/long_requests.h"
#include "core/error.h"
#include "security/principal.h"
#include "security/tokens.h"

namespace appmesh::api {

enum class FileDirection : std::uint8_t { download, upload };

struct FileGrant {
  std::string user;
  std::string path;  // byte for byte as it was asked for
  FileDirection direction = FileDirection::download;
  FileAttributes attributes;         // of an upload
  std::shared_ptr<LongRight> right;  // of the request that asked for it, with its permission
};

class FileTokens {
 public:
  static constexpr std::chrono::seconds kLife{30};
  static constexpr std::size_t kMaxOutstanding = 10'000;
  static constexpr std::size_t kFirstPrune = 64;

  // Both must outlive it.
  FileTokens(security::Tokens& tokens, LongRequests& long_requests) : tokens_(tokens), long_requests_(long_requests) {}

  // Error unavailable when too many are outstanding.
  [[nodiscard]] Result<std::string> issue(FileGrant grant);

  struct Shown {
    FileGrant grant;
    std::shared_ptr<const security::Principal> principal;
  };
  // Uses the token up, also when it was meant for something else. `path` is nothing when the caller gave none. Errors:
  // unauthenticated, invalid_argument for a missing path.
  [[nodiscard]] Result<Shown> redeem(std::string_view token, std::optional<std::string_view> path,
                                     FileDirection direction);

  // Published clients from 3.0 on show their session's token instead, as "Bearer <token>": good for what its user may
  // do anyway. Errors: unauthenticated, invalid_argument for a missing path.
  [[nodiscard]] Result<Shown> accept_session(std::string_view token, const Result<std::string>& path,
                                             FileDirection direction, const std::string& permission);

 private:
  using Clock = std::chrono::steady_clock;
  struct Outstanding {
    FileGrant grant;
    Clock::time_point expires;
  };

  security::Tokens& tokens_;
  LongRequests& long_requests_;
  std::mutex mutex_;
  std::map<std::string, Outstanding, std::less<>> outstanding_;  // by jti
  std::size_t prune_at_ = kFirstPrune;                           // that many: those that have expired go
};

}  // namespace appmesh::api

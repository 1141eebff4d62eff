// Logins whose password was right and whose TOTP code is still to come: one a user, the newest. The challenge that the
// client shows is opaque to it. Shared by the routes; any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"

namespace appmesh::api {

struct Session;

class PendingLogins {
 public:
  static constexpr std::chrono::seconds kLife{180};

  struct Ticket {
    std::string challenge;
    core::WallTime expires;
  };
  // Replaces the user's earlier one. At most one entry for every user of the directory.
  Ticket add(const std::string& user, std::shared_ptr<const Session> session, core::WallTime now);
  // Null: unknown, replaced or expired. It stays good until it expires or a next login replaces it.
  [[nodiscard]] std::shared_ptr<const Session> find(std::string_view user, std::string_view challenge,
                                                    core::WallTime now);

 private:
  struct Entry {
    Ticket ticket;
    std::shared_ptr<const Session> session;
  };

  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace appmesh::api

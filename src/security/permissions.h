// The permission ids that exist: what a route can ask for. A role may be given no other, so that a misspelt one is
// noticed when it is written. Constants and pure functions, any thread.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace appmesh::security {

inline constexpr auto kPermissions = std::to_array<std::string_view>({
    "app-chown",
    "app-control",
    "app-delete",
    "app-output-view",
    "app-reg",
    "app-run-async",
    "app-run-async-output",  // published, and asked for by no route
    "app-run-pty",
    "app-run-sync",
    "app-run-task",
    "app-subscribe",
    "app-view",
    "app-view-all",
    "audit-view",
    "config-security",
    "config-set",
    "config-view",
    "file-download",
    "file-upload",
    "host-resource-view",
    "label-delete",
    "label-set",
    "label-view",
    "passwd-change-self",
    "passwd-change-user",
    "permission-list",
    "role-delete",
    "role-set",
    "role-view",
    "user-add",
    "user-delete",
    "user-list",
    "user-lock",
    "user-token-renew",
    "user-totp-active",
    "user-totp-disable",
    "user-unlock",
});
static_assert(std::ranges::is_sorted(kPermissions));

[[nodiscard]] constexpr bool is_known_permission(std::string_view id) {
  return std::ranges::binary_search(kPermissions, id);
}

}  // namespace appmesh::security

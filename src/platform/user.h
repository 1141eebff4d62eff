// Users of the operating system, as the name service knows them. No state; any thread, but a lookup may ask the network
// (NSS), so not the engine's.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "core/error.h"

namespace appmesh::platform {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary ones, the primary included
  std::string home;
  std::string shell;  // /bin/sh when the entry has none
};

// Error not_found: no such user.
[[nodiscard]] Result<User> find_user(const std::string& name);
[[nodiscard]] Result<User> find_user(uid_t uid);
// The effective user of this process; a uid without an entry is written as its number.
[[nodiscard]] std::string current_user_name();
[[nodiscard]] std::string user_name(uid_t uid);  // the number as text when there is no such user
[[nodiscard]] std::string group_name(gid_t gid);
[[nodiscard]] Result<gid_t> find_group(const std::string& name);

}  // namespace appmesh::platform

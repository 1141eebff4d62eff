#include "core/access.h"

namespace appmesh::core {

namespace {
constexpr std::uint32_t kRead = 2;
constexpr std::uint32_t kReadWrite = 3;
}  // namespace

bool may_access(const Caller& caller, const Ownership& app, Access access) {
  if (app.owner.empty() || caller.user == app.owner || caller.user == "admin") return true;
  const bool same_group = !caller.group.empty() && caller.group == app.owner_group;
  const std::uint32_t digit = same_group ? app.permission % 10 : app.permission / 10 % 10;
  return digit == 0 || digit >= (access == Access::write ? kReadWrite : kRead);
}

}  // namespace appmesh::core

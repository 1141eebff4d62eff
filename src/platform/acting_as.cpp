#include "platform/acting_as.h"

#include <cerrno>
#include <cstdlib>
#include <utility>

#include <sys/fsuid.h>
#include <sys/syscall.h>

#include <fmt/format.h>
#include <unistd.h>

namespace appmesh::platform {
namespace {

// The call of the C library changes every thread of the process.
bool set_groups_of_thread(const std::vector<gid_t>& groups) {
  return ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0;
}

// Neither call tells whether it succeeded; one with an id that cannot be tells what is set.
bool set_user(uid_t uid) {
  ::setfsuid(uid);
  return static_cast<uid_t>(::setfsuid(static_cast<uid_t>(-1))) == uid;
}

bool set_group(gid_t gid) {
  ::setfsgid(gid);
  return static_cast<gid_t>(::setfsgid(static_cast<gid_t>(-1))) == gid;
}

}  // namespace

ActingAs::ActingAs(ActingAs&& other) noexcept
    : active_(std::exchange(other.active_, false)),
      uid_(other.uid_),
      gid_(other.gid_),
      groups_(std::move(other.groups_)) {}

Result<ActingAs> ActingAs::begin(const User& user) {
  ActingAs acting;
  if (user.uid == ::geteuid()) return acting;
  const int count = ::getgroups(0, nullptr);
  if (count > 0) acting.groups_.resize(static_cast<std::size_t>(count));
  if (count < 0 || ::getgroups(count, acting.groups_.data()) < 0)
    return fail_errno(ErrorKind::internal, "getgroups", errno);
  acting.uid_ = ::geteuid();
  acting.gid_ = ::getegid();
  acting.active_ = true;
  // The user last: with it goes the right to change the others.
  if (!set_groups_of_thread(user.groups) || !set_group(user.gid) || !set_user(user.uid))
    return fail(ErrorKind::permission_denied, fmt::format("cannot act as the OS user {}", user.name));
  return acting;
}

void ActingAs::end() {
  if (!std::exchange(active_, false)) return;
  // A thread that stays somebody else would do the next one's work as them.
  if (!set_user(uid_) || !set_group(gid_) || !set_groups_of_thread(groups_)) std::abort();
}

}  // namespace appmesh::platform

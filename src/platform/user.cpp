#include "platform/user.h"

#include <cerrno>

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

namespace appmesh::platform {
namespace {

constexpr std::size_t kFirstBufferBytes = 4096;
constexpr std::size_t kMaxBufferBytes = 1U << 20U;
constexpr int kMaxGroups = 65536;  // the kernel's NGROUPS_MAX

// Calls getpwnam_r or getpwuid_r with a buffer that grows until the entry fits.
template <typename Lookup>
Result<User> look_up(const std::string& what, Lookup lookup) {
  for (std::size_t size = kFirstBufferBytes; size <= kMaxBufferBytes; size *= 2) {
    std::vector<char> buffer(size);
    passwd entry{};
    passwd* found = nullptr;
    const int error_number = lookup(&entry, buffer.data(), buffer.size(), &found);
    if (error_number == ERANGE) continue;
    // getpwnam(3): several errnos stand for "not found" besides 0.
    if (found == nullptr && (error_number == 0 || error_number == ENOENT || error_number == ESRCH)) {
      return fail(ErrorKind::not_found, "no such OS user " + what);
    }
    if (found == nullptr) return fail_errno(ErrorKind::internal, "look up OS user " + what, error_number);

    User user{
        .name = entry.pw_name, .uid = entry.pw_uid, .gid = entry.pw_gid, .home = entry.pw_dir, .shell = entry.pw_shell};
    if (user.shell.empty()) user.shell = "/bin/sh";
    int count = 32;
    user.groups.resize(32);
    while (::getgrouplist(entry.pw_name, entry.pw_gid, user.groups.data(), &count) < 0) {
      if (count > kMaxGroups) return fail(ErrorKind::too_large, "OS user " + what + " is in too many groups");
      const auto wanted = std::max(static_cast<std::size_t>(count), user.groups.size() * 2);
      user.groups.resize(wanted);
      count = static_cast<int>(wanted);
    }
    user.groups.resize(static_cast<std::size_t>(count));
    return user;
  }
  return fail(ErrorKind::too_large, "the entry of OS user " + what + " is too large");
}

}  // namespace

Result<User> find_user(const std::string& name) {
  return look_up(name, [&](passwd* entry, char* buffer, std::size_t size, passwd** found) {
    return ::getpwnam_r(name.c_str(), entry, buffer, size, found);
  });
}

Result<User> find_user(uid_t uid) {
  return look_up(std::to_string(uid), [&](passwd* entry, char* buffer, std::size_t size, passwd** found) {
    return ::getpwuid_r(uid, entry, buffer, size, found);
  });
}

std::string user_name(uid_t uid) {
  const auto user = find_user(uid);
  return user ? user->name : std::to_string(uid);
}

namespace {

// Calls getgrnam_r or getgrgid_r with a buffer that grows until the entry fits, then `take` with it.
template <typename T, typename Lookup, typename Take>
Result<T> look_up_group(const std::string& what, Lookup lookup, Take take) {
  for (std::size_t size = kFirstBufferBytes; size <= kMaxBufferBytes; size *= 2) {
    std::vector<char> buffer(size);
    group entry{};
    group* found = nullptr;
    const int error_number = lookup(&entry, buffer.data(), buffer.size(), &found);
    if (error_number == ERANGE) continue;
    if (found == nullptr) return fail(ErrorKind::not_found, "no such OS group " + what);
    return T(take(entry));
  }
  return fail(ErrorKind::too_large, "the entry of OS group " + what + " is too large");
}

}  // namespace

Result<gid_t> find_group(const std::string& name) {
  return look_up_group<gid_t>(
      name,
      [&](group* entry, char* buffer, std::size_t size, group** found) {
        return ::getgrnam_r(name.c_str(), entry, buffer, size, found);
      },
      [](const group& entry) { return entry.gr_gid; });
}

std::string group_name(gid_t gid) {
  const auto name = look_up_group<std::string>(
      std::to_string(gid),
      [&](group* entry, char* buffer, std::size_t size, group** found) {
        return ::getgrgid_r(gid, entry, buffer, size, found);
      },
      [](const group& entry) { return entry.gr_name; });
  return name ? *name : std::to_string(gid);
}

std::string current_user_name() {
  return user_name(::geteuid());
}

}  // namespace appmesh::platform

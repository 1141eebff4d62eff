#include "security/user_directory.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "core/access.h"
#include "platform/file.h"
#include "platform/random.h"
#include "security/passwords.h"
#include "security/permissions.h"
#include "security/security_yaml.h"
#include "security/user_rights.h"

namespace appmesh::security {
namespace {

constexpr std::size_t kMaxUsers = 10'000;
constexpr std::size_t kMaxRoles = 1'000;
constexpr std::size_t kIdBytes = 8;
// Tells a sealed TOTP secret from the plain base32 of a hand-written or published file.
constexpr std::string_view kSealed = "sealed:";

std::unexpected<Error> no_such_user(std::string_view name) {
  return fail(ErrorKind::not_found, fmt::format("No such user: {}", name));
}

std::string totp_context(std::string_view user) {
  return fmt::format("totp:{}", user);
}

// Every token until now is void, but for those of one session. One more than the last epoch: tokens issued since then
// may carry epoch + 1 although the clock is still behind.
void end_sessions(User& user, const std::string& kept_session, core::WallTime now) {
  user.token_epoch = std::max(core::epoch_seconds(now), user.token_epoch + 1);
  user.kept_session = kept_session;
}

void forget_factor(User& user, const std::string& kept_session, core::WallTime now) {
  const bool was_on = std::exchange(user.mfa_enabled, false);
  user.mfa_key.clear();
  user.mfa_next.clear();
  if (was_on) end_sessions(user, kept_session, now);
}

Result<void> apply(const UserChange& change, User& user, core::WallTime now) {
  if (change.email) user.email = *change.email;
  if (change.group) user.group = *change.group;
  if (change.exec_user) user.exec_user = *change.exec_user;
  if (change.locked) user.locked = *change.locked;
  if (change.metadata) user.metadata = *change.metadata;
  if (change.roles) user.roles = *change.roles;
  if (change.mfa_enabled && *change.mfa_enabled != user.mfa_enabled) {
    if (*change.mfa_enabled)
      return fail(ErrorKind::invalid_argument,
                  "mfa_enabled: the user switches it on, with a code: POST /appmesh/totp/setup");
    forget_factor(user, {}, now);
  }
  if (user.name == kAdmin && user.locked) return fail(ErrorKind::invalid_argument, "User admin can not be locked");
  return check_user(user);
}

}  // namespace

UserSnapshot::UserSnapshot(std::map<std::string, User, std::less<>> users, RoleMap roles, std::uint64_t generation)
    : users_(std::move(users)), roles_(std::move(roles)), generation_(generation) {
  for (const auto& [name, user] : users_) {
    std::set<std::string> permissions;
    for (const auto& role : user.roles) {
      if (const auto found = roles_.find(role); found != roles_.end()) {
        permissions.insert(found->second.begin(), found->second.end());
      }
    }
    principals_.emplace(
        name, std::make_shared<const Principal>(Principal{.user = name,
                                                          .as_owner = user.as_owner(),
                                                          .group = user.group,
                                                          .exec_user = user.exec_user,
                                                          .roles = user.roles,
                                                          .permissions = {permissions.begin(), permissions.end()}}));
  }
}

const User* UserSnapshot::find(std::string_view name) const {
  const auto found = users_.find(name);
  return found == users_.end() ? nullptr : &found->second;
}

const User* UserSnapshot::find_owner(std::string_view owner) const {
  const User* user = find(core::name_of_owner(owner));
  return user != nullptr && user->as_owner() == owner ? user : nullptr;
}

std::shared_ptr<const Principal> UserSnapshot::principal(std::string_view name) const {
  const auto found = principals_.find(name);
  return found == principals_.end() ? nullptr : found->second;
}

std::vector<std::string> UserSnapshot::all_permissions() const {
  std::set<std::string> all;
  for (const auto& [role, permissions] : roles_)
    std::ranges::copy_if(permissions, std::inserter(all, all.end()), is_known_permission);
  return {all.begin(), all.end()};
}

std::vector<std::string> UserSnapshot::groups() const {
  std::set<std::string> all;
  for (const auto& [name, user] : users_) {
    if (!user.group.empty()) all.insert(user.group);
  }
  return {all.begin(), all.end()};
}

UserDirectory::UserDirectory(Options options, const store::SecretBox& secrets)
    : options_(std::move(options)), secrets_(secrets) {}

Result<std::unique_ptr<UserDirectory>> UserDirectory::load(Options options, const store::SecretBox& secrets) {
  std::unique_ptr<UserDirectory> directory(new UserDirectory(std::move(options), secrets));
  if (auto loaded = directory->reload(); !loaded) return std::unexpected(loaded.error());
  return directory;
}

Result<void> UserDirectory::reload() {
  const std::lock_guard lock(writers_);
  auto contents = read();
  if (!contents) return std::unexpected(contents.error());
  if (contents->must_write) {
    if (auto written = write(*contents); !written) return written;
  }
  publish(std::move(*contents));
  return {};
}

Result<UserDirectory::Contents> UserDirectory::read() const {
  SecurityDocument document;
  auto text = platform::read_file(options_.file, kMaxSecurityFileBytes);
  std::error_code ignored;
  // A link that leads nowhere is there: other users than it was to name must not come from elsewhere.
  const bool is_absent =
      std::filesystem::symlink_status(options_.file, ignored).type() == std::filesystem::file_type::not_found;
  if (!text && !is_absent) return std::unexpected(text.error());
  if (!text) {
    text = platform::read_file(options_.template_file, kMaxSecurityFileBytes);
  }
  if (text) {
    auto parsed = parse_security_yaml(*text);
    wipe(*text);
    if (!parsed) return std::unexpected(parsed.error());
    document = std::move(*parsed);
  } else if (text.error().kind == ErrorKind::not_found) {
    document = built_in_security();
  } else {
    return std::unexpected(text.error());
  }
  Contents contents{
      .users = std::move(document.users), .roles = std::move(document.roles), .retired = std::move(document.retired)};
  for (auto& [name, user] : contents.users) {
    if (user.id.empty() && contents.retired.contains(name)) {
      user.id = platform::random_hex(kIdBytes);
      contents.must_write = true;
    }
    if (!user.key.empty() && !is_password_hash(user.key)) {
      // A text that means to be a hash and is none must not silently become a password.
      if (user.key.starts_with('$')) {
        return fail(ErrorKind::invalid_argument,
                    fmt::format("security.yaml: Users.{}: key: not an argon2id or pbkdf2 text", name));
      }
      auto hashed = hash_password(user.key);
      if (!hashed) {
        return fail(hashed.error().kind, fmt::format("security.yaml: Users.{}: key: {}", name, hashed.error().message));
      }
      wipe(user.key);
      user.key = std::move(*hashed);
      contents.must_write = true;
    }
    for (std::string* secret : {&user.mfa_key, &user.mfa_next}) {
      if (secret->empty() || secret->starts_with(kSealed)) continue;
      const std::string sealed = secrets_.seal(*secret, totp_context(name));
      wipe(*secret);
      *secret = std::string(kSealed) + sealed;
      contents.must_write = true;
    }
    // Older files have one place for a secret, on or not.
    if (!user.mfa_enabled && !user.mfa_key.empty()) user.mfa_next = std::exchange(user.mfa_key, {});
  }
  return contents;
}

Result<void> UserDirectory::write(const Contents& contents) const {
  return platform::write_file_atomic(options_.file,
                                     format_security_yaml(contents.users, contents.roles, contents.retired), 0600);
}

void UserDirectory::publish(Contents contents) {
  const std::uint64_t generation = generation_.load(std::memory_order_relaxed) + 1;
  retired_ = std::move(contents.retired);
  auto next = std::make_shared<const UserSnapshot>(std::move(contents.users), std::move(contents.roles), generation);
  {
    const std::lock_guard lock(snapshot_mutex_);
    snapshot_ = std::move(next);
    // After the snapshot: whoever sees the new number finds at least this snapshot.
    generation_.store(generation, std::memory_order_release);
  }
  if (changed_) changed_();
}

Result<void> UserDirectory::change(const std::function<Result<void>(Contents&)>& edit) {
  const std::lock_guard lock(writers_);
  const auto before = snapshot();
  Contents contents{.users = before->users(), .roles = before->roles(), .retired = retired_};
  if (auto edited = edit(contents); !edited) return edited;
  if (contents.users == before->users() && contents.roles == before->roles()) return {};
  if (auto kept = keeps_administrator({before->users(), before->roles()}, {contents.users, contents.roles}); !kept)
    return kept;
  if (auto written = write(contents); !written) return written;
  publish(std::move(contents));
  return {};
}

std::shared_ptr<const UserSnapshot> UserDirectory::snapshot() const {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

Result<void> UserDirectory::check_new_password(std::string_view password) const {
  if (options_.complexity && options_.complexity()) {
    if (auto good = check_complexity(password); !good) return good;
  }
  return {};
}

Result<void> UserDirectory::put_user(const Actor& actor, const std::string& name, UserChange change_to,
                                     core::WallTime now) {
  // Hashed before the writers' lock is taken, and only when it will be used.
  std::string key;
  if (snapshot()->find(name) == nullptr) {
    if (auto good = check_user({.name = name}); !good) return good;
    if (!change_to.password || change_to.password->empty()) {
      return fail(ErrorKind::invalid_argument, "key: a new user needs a password");
    }
    if (auto good = check_new_password(*change_to.password); !good) return good;
    auto hashed = hash_password(*change_to.password);
    wipe(*change_to.password);
    if (!hashed) return std::unexpected(hashed.error());
    key = std::move(*hashed);
  }
  return change([&](Contents& contents) -> Result<void> {
    const auto existing = contents.users.find(name);
    const User* before = existing == contents.users.end() ? nullptr : &existing->second;
    if (before == nullptr && key.empty())
      return fail(ErrorKind::conflict, fmt::format("User {} was deleted at the same time", name));
    if (before == nullptr && contents.users.size() >= kMaxUsers)
      return fail(ErrorKind::invalid_argument, "There are 10000 users already");
    User user = before != nullptr ? *before
                                  : User{.name = name,
                                         .id = platform::random_hex(kIdBytes),
                                         .key = std::move(key),
                                         .token_epoch = core::epoch_seconds(now)};
    if (auto good = apply(change_to, user, now); !good) return good;
    if (auto may = check_user_change({contents.users, contents.roles}, actor, before, user); !may) return may;
    contents.users.insert_or_assign(name, std::move(user));
    return {};
  });
}

Result<void> UserDirectory::set_first_key(std::string_view name, std::string key) {
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    if (!found->second.key.empty()) return fail(ErrorKind::conflict, fmt::format("User {} has a password", name));
    found->second.key = std::move(key);
    return {};
  });
}

Result<void> UserDirectory::delete_user(std::string_view name) {
  // Without it nobody may be left who can make users.
  if (name == kAdmin) return fail(ErrorKind::invalid_argument, "User admin can not be deleted");
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    if (found->second.id.empty()) contents.retired.insert(found->first);
    contents.users.erase(found);
    return {};
  });
}

Result<void> UserDirectory::set_locked(std::string_view name, bool locked) {
  if (name == kAdmin && locked) return fail(ErrorKind::invalid_argument, "User admin can not be locked");
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    found->second.locked = locked;
    return {};
  });
}

Result<void> UserDirectory::change_password(std::string_view name, std::string_view old_password,
                                            std::string_view new_password, core::WallTime now) {
  const auto before = snapshot();
  const User* user = before->find(name);
  if (user == nullptr) return no_such_user(name);
  if (!check_password(user->key, old_password).matches) {
    return fail(ErrorKind::invalid_argument, "Old password is incorrect");
  }
  if (auto good = check_new_password(new_password); !good) return good;
  auto hashed = hash_password(new_password);
  if (!hashed) return std::unexpected(hashed.error());
  auto changed = change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    if (found->second.key != user->key) {
      return fail(ErrorKind::conflict, "The password was changed at the same time");
    }
    found->second.key = std::move(*hashed);
    end_sessions(found->second, {}, now);
    return {};
  });
  if (!changed) return changed;
  if (name == kAdmin && !options_.initial_password.empty()) {
    std::error_code ignored;  // the password in it is worthless now
    std::filesystem::remove(options_.initial_password, ignored);
  }
  return {};
}

Result<void> UserDirectory::set_role(const Actor& actor, const std::string& role,
                                     std::vector<std::string> permissions) {
  if (permissions.empty()) return delete_role(actor, role);
  if (auto good = check_role(role, permissions); !good) return good;
  std::ranges::sort(permissions);
  permissions.erase(std::ranges::unique(permissions).begin(), permissions.end());
  return change([&](Contents& contents) -> Result<void> {
    if (!contents.roles.contains(role) && contents.roles.size() >= kMaxRoles) {
      return fail(ErrorKind::invalid_argument, "There are 1000 roles already");
    }
    if (auto may = check_role_change({contents.users, contents.roles}, actor, role, permissions); !may) return may;
    contents.roles.insert_or_assign(role, std::move(permissions));
    return {};
  });
}

Result<void> UserDirectory::delete_role(const Actor& actor, std::string_view role) {
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.roles.find(role);
    if (found == contents.roles.end()) return {};
    if (auto may = check_role_change({contents.users, contents.roles}, actor, role, {}); !may) return may;
    contents.roles.erase(found);
    return {};
  });
}

Result<void> UserDirectory::replace_key(std::string_view name, std::string_view old_key, std::string new_key) {
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found != contents.users.end() && found->second.key == old_key) found->second.key = std::move(new_key);
    return {};
  });
}

Result<void> UserDirectory::set_totp_secret(std::string_view name, std::string_view secret) {
  std::string sealed = std::string(kSealed) + secrets_.seal(secret, totp_context(name));
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    found->second.mfa_next = std::move(sealed);
    return {};
  });
}

Result<void> UserDirectory::enable_totp(const User& confirmed, const std::string& kept_session, core::WallTime now) {
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(confirmed.name);
    if (found == contents.users.end()) return no_such_user(confirmed.name);
    User& user = found->second;
    if (confirmed.mfa_next.empty()) return fail(ErrorKind::invalid_argument, "The user has no TOTP secret");
    if (user.mfa_next != confirmed.mfa_next)
      return fail(ErrorKind::conflict, "The TOTP secret was changed at the same time");
    user.mfa_key = std::exchange(user.mfa_next, {});
    user.mfa_enabled = true;
    end_sessions(user, kept_session, now);
    return {};
  });
}

Result<void> UserDirectory::disable_totp(std::string_view name, const std::string& kept_session, core::WallTime now) {
  return change([&](Contents& contents) -> Result<void> {
    const auto found = contents.users.find(name);
    if (found == contents.users.end()) return no_such_user(name);
    forget_factor(found->second, kept_session, now);
    return {};
  });
}

Result<std::string> UserDirectory::totp_secret(const User& user) const {
  return unseal_totp(user, user.mfa_key);
}

Result<std::string> UserDirectory::next_totp_secret(const User& user) const {
  return unseal_totp(user, user.mfa_next);
}

Result<std::string> UserDirectory::unseal_totp(const User& user, const std::string& sealed) const {
  if (!sealed.starts_with(kSealed)) return fail(ErrorKind::invalid_argument, "The user has no TOTP secret");
  return secrets_.unseal(std::string_view(sealed).substr(kSealed.size()), totp_context(user.name));
}

}  // namespace appmesh::security

// Users and roles: security.yaml, docs/wire.md#security-file and #roles. Owned by the daemon. Reads take an
// immutable snapshot and may happen on any thread; everything that returns a Result writes the file (and may hash a
// password) before it returns, so it belongs on a worker pool. Changes happen one after another and are on disk before
// they are visible.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/time.h"
#include "security/principal.h"
#include "store/secret_box.h"

namespace appmesh::security {

inline constexpr std::string_view kAdmin = "admin";

struct User {
  std::string name;
  // Never that of another account, so that nothing of a deleted user is their namesake's. Empty: the first account of
  // its name, written into the file by hand or by an older version.
  std::string id;
  std::string email;
  std::string group;
  std::string exec_user;
  std::string key;       // a hash, see passwords.h; empty: nobody can log in with a password
  std::string mfa_key;   // sealed, of the factor that is on; see UserDirectory::totp_secret()
  std::string mfa_next;  // sealed, of one that is being set up
  bool locked = false;
  bool mfa_enabled = false;
  std::optional<std::string> metadata;
  std::int64_t token_epoch = 0;  // epoch seconds; tokens issued then or earlier are void, but for those of
  std::string kept_session;      // the one that made the change
  std::vector<std::string> roles;

  // What definitions of this user's apps say, see core::name_of_owner().
  [[nodiscard]] std::string as_owner() const { return id.empty() ? name : name + "/" + id; }
  bool operator==(const User&) const = default;
};

// What PUT /user/{u} may say. An absent field stays as it is; of a new user it is empty.
struct UserChange {
  std::optional<std::string> password;  // plain; only used for a new user
  std::optional<std::string> email;
  std::optional<std::string> group;
  std::optional<std::string> exec_user;
  std::optional<bool> locked;
  std::optional<bool> mfa_enabled;
  std::optional<std::string> metadata;
  std::optional<std::vector<std::string>> roles;
};

// On whose account a change is made: see user_rights.h for what it may contain.
struct Actor {
  std::string user;  // empty: the daemon itself
  [[nodiscard]] bool is_daemon() const { return user.empty(); }
};
inline const Actor kDaemon;

using RoleMap = std::map<std::string, std::vector<std::string>, std::less<>>;  // permissions sorted, without doubles

// Who may do what, as of one moment. Immutable; keep it as long as you like.
class UserSnapshot {
 public:
  UserSnapshot(std::map<std::string, User, std::less<>> users, RoleMap roles, std::uint64_t generation);

  [[nodiscard]] const User* find(std::string_view name) const;
  // Null when that account is gone, also when another has its name now.
  [[nodiscard]] const User* find_owner(std::string_view owner) const;
  // The caller that this user is; null when there is no such user.
  [[nodiscard]] std::shared_ptr<const Principal> principal(std::string_view name) const;
  [[nodiscard]] const std::map<std::string, User, std::less<>>& users() const { return users_; }
  [[nodiscard]] const RoleMap& roles() const { return roles_; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] std::vector<std::string> all_permissions() const;  // sorted union over the roles, of those that exist
  [[nodiscard]] std::vector<std::string> groups() const;           // sorted, without the empty one

 private:
  std::map<std::string, User, std::less<>> users_;
  std::map<std::string, std::shared_ptr<const Principal>, std::less<>> principals_;
  RoleMap roles_;
  std::uint64_t generation_;
};

class UserDirectory {
 public:
  struct Options {
    std::filesystem::path file;              // work/config/security.yaml: read first, and what changes are written to
    std::filesystem::path template_file;     // config/security.yaml, read when `file` does not exist
    std::filesystem::path initial_password;  // removed when the administrator's password is changed
    std::function<bool()> complexity;        // true: new passwords must be complex; empty: never asked
  };

  // Neither file: the roles of docs/wire.md#roles and the user admin without a password. Plain passwords and TOTP
  // secrets of a hand-written file are hashed, sealed and written back. Errors name the user and the field. `secrets`
  // must live longer.
  static Result<std::unique_ptr<UserDirectory>> load(Options options, const store::SecretBox& secrets);

  [[nodiscard]] std::shared_ptr<const UserSnapshot> snapshot() const;
  // Changes with every published change; cheap enough for every request.
  [[nodiscard]] std::uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // `changed` is called after each published change, on its thread, and must not wait nor change users. Before the
  // first change.
  void observe(std::function<void()> changed) { changed_ = std::move(changed); }

  Result<void> reload();  // SIGHUP; on an error nothing changes

  // docs/wire.md#users. A new user needs a password; an existing one keeps what the change does not say, and key and
  // mfa_key. A new user's epoch is `now`, so that tokens of a deleted namesake stay void. Errors: also
  // permission_denied for what the actor may not give or take.
  Result<void> put_user(const Actor& actor, const std::string& name, UserChange change_to, core::WallTime now);
  // For the first start: gives a user that has no key this one. Error conflict when it has one.
  Result<void> set_first_key(std::string_view name, std::string key);
  Result<void> delete_user(std::string_view name);  // not the administrator
  Result<void> set_locked(std::string_view name, bool locked);
  // Voids every token that the user has. A wrong old password is invalid_argument; `now` becomes the token epoch.
  Result<void> change_password(std::string_view name, std::string_view old_password, std::string_view new_password,
                               core::WallTime now);
  // Empty: deletes. Errors: also an id that is no permission, and what the actor may not give or take.
  Result<void> set_role(const Actor& actor, const std::string& role, std::vector<std::string> permissions);
  Result<void> delete_role(const Actor& actor, std::string_view role);  // absent: success

  // Replaces a hash by a stronger one of the same password; does nothing when the key is no longer `old_key`.
  Result<void> replace_key(std::string_view name, std::string_view old_key, std::string new_key);

  // A TOTP secret (base32) to be confirmed; the one that is on stays on until then.
  Result<void> set_totp_secret(std::string_view name, std::string_view secret);
  // Of these two each ends every session of the user but `kept_session` (empty: every one).
  // The secret that `confirmed` has waiting becomes the factor. Error conflict: it has another one by now.
  Result<void> enable_totp(const User& confirmed, const std::string& kept_session, core::WallTime now);
  Result<void> disable_totp(std::string_view name, const std::string& kept_session, core::WallTime now);
  // Errors: invalid_argument when there is none.
  [[nodiscard]] Result<std::string> totp_secret(const User& user) const;
  [[nodiscard]] Result<std::string> next_totp_secret(const User& user) const;

  UserDirectory(const UserDirectory&) = delete;
  UserDirectory& operator=(const UserDirectory&) = delete;

 private:
  struct Contents {
    std::map<std::string, User, std::less<>> users;
    RoleMap roles;
    std::set<std::string, std::less<>> retired;
    bool must_write = false;  // something was hashed or sealed on the way in
  };

  UserDirectory(Options options, const store::SecretBox& secrets);
  [[nodiscard]] Result<Contents> read() const;
  // Runs `edit` on a copy, writes the copy and publishes it. Nothing changes when edit or the disk fails, or when no
  // administrator would be left.
  Result<void> change(const std::function<Result<void>(Contents&)>& edit);
  Result<void> write(const Contents& contents) const;
  void publish(Contents contents);
  [[nodiscard]] Result<void> check_new_password(std::string_view password) const;
  [[nodiscard]] Result<std::string> unseal_totp(const User& user, const std::string& sealed) const;

  const Options options_;
  const store::SecretBox& secrets_;
  std::function<void()> changed_;
  std::mutex writers_;                          // held over the disk work
  std::set<std::string, std::less<>> retired_;  // names whose first account was deleted; with writers_
  mutable std::mutex snapshot_mutex_;
  std::shared_ptr<const UserSnapshot> snapshot_;
  std::atomic<std::uint64_t> generation_{0};
};

}  // namespace appmesh::security

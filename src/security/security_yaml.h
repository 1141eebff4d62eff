// The text form of users and roles (docs/wire.md#security-file). Pure functions without state, any thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "core/error.h"
#include "security/user_directory.h"

namespace appmesh::security {

struct SecurityDocument {
  std::map<std::string, User, std::less<>> users;  // key and mfa_key as they stand in the text
  RoleMap roles;
  std::set<std::string, std::less<>> retired;  // names that their first account has lost
};

inline constexpr std::size_t kMaxSecurityFileBytes = 16UL * 1024 * 1024;

// Errors: invalid_argument that names the user or role, the field and the reason. Never quotes a key.
[[nodiscard]] Result<SecurityDocument> parse_security_yaml(const std::string& text);
[[nodiscard]] std::string format_security_yaml(const std::map<std::string, User, std::less<>>& users,
                                               const RoleMap& roles, const std::set<std::string, std::less<>>& retired);

// Roles of docs/wire.md#roles and the user admin that has them all, without a password.
[[nodiscard]] SecurityDocument built_in_security();

// The rules that text and requests share. Errors: invalid_argument.
[[nodiscard]] Result<void> check_user(const User& user);
[[nodiscard]] Result<void> check_role(std::string_view role, const std::vector<std::string>& permissions);

}  // namespace appmesh::security

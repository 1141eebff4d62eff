#include "security/security_yaml.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

namespace appmesh::security {
namespace {

constexpr std::size_t kMaxUsers = 10'000;
constexpr std::size_t kMaxRoles = 1'000;
constexpr std::size_t kMaxPermissionsOfRole = 1'000;
constexpr std::size_t kMaxRolesOfUser = 100;
constexpr std::size_t kMaxFieldBytes = 256;
constexpr std::size_t kMaxMetadataBytes = 64UL * 1024;
constexpr std::size_t kMaxKeyBytes = 1024;

bool is_printable(std::string_view text) {
  return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Names travel in paths, in Basic credentials (split at ':') and in YAML keys.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 128 && text != "." && text != ".." &&
         std::ranges::all_of(text, [](unsigned char c) {
           return c > 0x20 && c < 0x7f && !std::string_view("/:*\"\\?#%").contains(static_cast<char>(c));
         });
}

bool is_permission(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
}

Result<void> check_text(std::string_view field, std::string_view text, std::size_t limit) {
  if (text.size() > limit)
    return fail(ErrorKind::invalid_argument, fmt::format("{}: longer than {} bytes", field, limit));
  if (!is_printable(text)) return fail(ErrorKind::invalid_argument, fmt::format("{}: control characters", field));
  return {};
}

[[nodiscard]] std::unexpected<Error> bad(std::string_view where, std::string_view field, std::string_view reason) {
  return fail(ErrorKind::invalid_argument, fmt::format("security.yaml: {}: {}: {}", where, field, reason));
}

// Reads one optional scalar; null is absent.
template <typename T>
Result<void> read_field(const YAML::Node& map, const char* field, std::string_view where, T& value) {
  const YAML::Node node = map[field];
  if (!node || node.IsNull()) return {};
  if (!node.IsScalar()) return bad(where, field, "must be a single value");
  if (!YAML::convert<T>::decode(node, value)) {
    return bad(where, field, std::is_same_v<T, bool> ? "must be true or false" : "must be an integer");
  }
  return {};
}

Result<std::vector<std::string>> read_list(const YAML::Node& node, std::string_view where, std::string_view field) {
  std::vector<std::string> list;
  if (!node || node.IsNull()) return list;
  if (!node.IsSequence()) return bad(where, field, "must be a list");
  for (const auto& item : node) {
    if (!item.IsScalar()) return bad(where, field, "must be a list of names");
    list.push_back(item.Scalar());
  }
  return list;
}

Result<User> read_user(const std::string& name, const YAML::Node& node) {
  const std::string where = "Users." + name;
  if (!node.IsMap()) return bad(where, "value", "must be a map");
  User user{.name = name};
  std::string metadata;
  for (auto [field, target] : {std::pair{"id", &user.id},
                               {"email", &user.email},
                               {"group", &user.group},
                               {"exec_user", &user.exec_user},
                               {"key", &user.key},
                               {"mfa_key", &user.mfa_key},
                               {"mfa_next", &user.mfa_next},
                               {"kept_session", &user.kept_session},
                               {"metadata", &metadata}}) {
    if (auto read = read_field(node, field, where, *target); !read) return std::unexpected(read.error());
  }
  if (node["metadata"] && !node["metadata"].IsNull()) user.metadata = std::move(metadata);
  if (auto read = read_field(node, "locked", where, user.locked); !read) return std::unexpected(read.error());
  if (auto read = read_field(node, "mfa_enabled", where, user.mfa_enabled); !read) return std::unexpected(read.error());
  if (auto read = read_field(node, "token_epoch", where, user.token_epoch); !read) return std::unexpected(read.error());
  auto roles = read_list(node["roles"], where, "roles");
  if (!roles) return std::unexpected(roles.error());
  user.roles = std::move(*roles);
  if (auto good = check_user(user); !good) return bad(where, "value", good.error().message);
  return user;
}

Result<SecurityDocument> read_document(const YAML::Node& root) {
  SecurityDocument document;
  if (!root.IsMap()) return bad("document", "value", "must be a map with Users and Roles");
  auto retired = read_list(root["Retired"], "document", "Retired");
  if (!retired) return std::unexpected(retired.error());
  for (auto& name : *retired) {
    if (!is_name(name)) return bad("document", "Retired", "must be a list of names");
    document.retired.insert(std::move(name));
  }
  const YAML::Node users = root["Users"];
  const YAML::Node roles = root["Roles"];
  std::set<std::string, std::less<>> ids;
  if (users && !users.IsNull()) {
    if (!users.IsMap()) return bad("Users", "value", "must be a map");
    if (users.size() > kMaxUsers) return bad("Users", "value", "more than 10000 users");
    for (const auto& entry : users) {
      if (!entry.first.IsScalar()) return bad("Users", "name", "must be a single value");
      auto user = read_user(entry.first.Scalar(), entry.second);
      if (!user) return std::unexpected(user.error());
      if (!user->id.empty() && !ids.insert(user->id).second)
        return bad("Users." + user->name, "id", "another user has the same");
      if (!document.users.emplace(user->name, *user).second) return bad("Users", user->name, "appears twice");
    }
  }
  if (roles && !roles.IsNull()) {
    if (!roles.IsMap()) return bad("Roles", "value", "must be a map");
    if (roles.size() > kMaxRoles) return bad("Roles", "value", "more than 1000 roles");
    for (const auto& entry : roles) {
      if (!entry.first.IsScalar()) return bad("Roles", "name", "must be a single value");
      auto permissions = read_list(entry.second, "Roles", entry.first.Scalar());
      if (!permissions) return std::unexpected(permissions.error());
      if (auto good = check_role(entry.first.Scalar(), *permissions); !good) {
        return bad("Roles", "value", good.error().message);
      }
      std::ranges::sort(*permissions);
      permissions->erase(std::ranges::unique(*permissions).begin(), permissions->end());
      document.roles.emplace(entry.first.Scalar(), std::move(*permissions));
    }
  }
  return document;
}

}  // namespace

Result<SecurityDocument> parse_security_yaml(const std::string& text) {
  if (text.size() > kMaxSecurityFileBytes) return bad("document", "value", "larger than 16 MiB");
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return bad("document", "value", "the file is empty");
  try {
    return read_document(YAML::Load(text));
  } catch (const YAML::ParserException& e) {
    // Not e.what(): yaml-cpp may quote the text, and the text holds passwords.
    return bad("document", "value", fmt::format("not YAML at line {}, column {}", e.mark.line + 1, e.mark.column + 1));
  } catch (const YAML::Exception& e) {
    return bad("document", "value", fmt::format("wrong structure at line {}", e.mark.line + 1));
  }
}

std::string format_security_yaml(const std::map<std::string, User, std::less<>>& users, const RoleMap& roles,
                                 const std::set<std::string, std::less<>>& retired) {
  YAML::Emitter out;
  const auto text = [&](const char* key, const std::string& value) {
    out << YAML::Key << key << YAML::Value << YAML::DoubleQuoted << value;
  };
  const auto list = [&](const std::vector<std::string>& values) {
    out << YAML::BeginSeq;
    for (const auto& value : values) out << value;
    out << YAML::EndSeq;
  };
  out << YAML::BeginMap << YAML::Key << "EncryptKey" << YAML::Value << true;
  out << YAML::Key << "Users" << YAML::Value << YAML::BeginMap;
  for (const auto& [name, user] : users) {
    out << YAML::Key << YAML::DoubleQuoted << name << YAML::Value << YAML::BeginMap;
    if (!user.id.empty()) text("id", user.id);
    text("key", user.key);
    text("group", user.group);
    text("exec_user", user.exec_user);
    text("email", user.email);
    out << YAML::Key << "locked" << YAML::Value << user.locked;
    out << YAML::Key << "mfa_enabled" << YAML::Value << user.mfa_enabled;
    if (!user.mfa_key.empty()) text("mfa_key", user.mfa_key);
    if (!user.mfa_next.empty()) text("mfa_next", user.mfa_next);
    if (user.metadata) text("metadata", *user.metadata);
    if (user.token_epoch != 0) out << YAML::Key << "token_epoch" << YAML::Value << user.token_epoch;
    if (!user.kept_session.empty()) text("kept_session", user.kept_session);
    out << YAML::Key << "roles" << YAML::Value;
    list(user.roles);
    out << YAML::EndMap;
  }
  out << YAML::EndMap << YAML::Key << "Roles" << YAML::Value << YAML::BeginMap;
  for (const auto& [role, permissions] : roles) {
    out << YAML::Key << YAML::DoubleQuoted << role << YAML::Value;
    list(permissions);
  }
  out << YAML::EndMap;
  if (!retired.empty()) {
    out << YAML::Key << "Retired" << YAML::Value << YAML::BeginSeq;
    for (const auto& name : retired) out << YAML::DoubleQuoted << name;
    out << YAML::EndSeq;
  }
  out << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

SecurityDocument built_in_security() {
  SecurityDocument document;
  document.roles = {
      {"manage",
       {"app-control", "app-delete", "app-reg", "app-subscribe", "config-set", "file-download", "file-upload",
        "label-delete", "label-set"}},
      {"shell", {"app-run-async", "app-run-pty", "app-run-sync", "app-run-task"}},
      {"usermgr",
       {"app-chown", "audit-view", "passwd-change-user", "role-delete", "role-set", "user-add", "user-delete",
        "user-lock", "user-totp-disable", "user-unlock"}},
      {"view",
       {"app-output-view", "app-view", "app-view-all", "config-view", "host-resource-view", "label-view",
        "passwd-change-self", "permission-list", "role-view", "user-list", "user-token-renew", "user-totp-active"}},
  };
  document.users.emplace(kAdmin, User{.name = std::string(kAdmin), .roles = {"manage", "shell", "usermgr", "view"}});
  return document;
}

Result<void> check_user(const User& user) {
  if (!is_name(user.name)) {
    return fail(ErrorKind::invalid_argument,
                "user name: 1 to 128 printable characters without spaces and without / : * ? # % \\ \"");
  }
  // The paths /user/self/… mean the caller.
  if (user.name == "self") return fail(ErrorKind::invalid_argument, "user name: self is reserved");
  for (const auto& [field, text] :
       {std::pair{"email", &user.email}, {"group", &user.group}, {"exec_user", &user.exec_user}}) {
    if (auto good = check_text(field, *text, kMaxFieldBytes); !good) return good;
  }
  if (user.metadata && user.metadata->size() > kMaxMetadataBytes) {
    return fail(ErrorKind::invalid_argument, "metadata: longer than 65536 bytes");
  }
  if (user.key.size() > kMaxKeyBytes) return fail(ErrorKind::invalid_argument, "key: longer than 1024 bytes");
  if (user.mfa_key.size() > kMaxKeyBytes) return fail(ErrorKind::invalid_argument, "mfa_key: longer than 1024 bytes");
  if (user.mfa_next.size() > kMaxKeyBytes) return fail(ErrorKind::invalid_argument, "mfa_next: longer than 1024 bytes");
  if (auto good = check_text("kept_session", user.kept_session, kMaxFieldBytes); !good) return good;
  if (user.id.size() > 64 || !std::ranges::all_of(user.id, [](unsigned char c) { return std::isalnum(c) != 0; }))
    return fail(ErrorKind::invalid_argument, "id: at most 64 letters and digits");
  if (user.token_epoch < 0) return fail(ErrorKind::invalid_argument, "token_epoch: negative");
  if (user.roles.size() > kMaxRolesOfUser) return fail(ErrorKind::invalid_argument, "roles: more than 100");
  for (const auto& role : user.roles) {
    if (!is_name(role)) return fail(ErrorKind::invalid_argument, "roles: not a role name");
  }
  return {};
}

Result<void> check_role(std::string_view role, const std::vector<std::string>& permissions) {
  if (!is_name(role)) {
    return fail(ErrorKind::invalid_argument,
                "role name: 1 to 128 printable characters without spaces and without / : * ? # % \\ \"");
  }
  if (permissions.size() > kMaxPermissionsOfRole) {
    return fail(ErrorKind::invalid_argument, fmt::format("role {}: more than 1000 permissions", role));
  }
  for (const auto& permission : permissions) {
    if (!is_permission(permission)) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("role {}: a permission is 1 to 64 letters, digits, - _ . or :", role));
    }
  }
  return {};
}

}  // namespace appmesh::security

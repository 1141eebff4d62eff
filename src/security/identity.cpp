#include "security/identity.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sodium.h>

#include "platform/file.h"
#include "platform/random.h"
#include "security/certificates.h"
#include "security/passwords.h"

namespace appmesh::security {
namespace {

constexpr const char* kAdminPasswordVariable = "APPMESH_ADMIN_PASSWORD";
constexpr std::string_view kJwtContext = "jwt-secret";
constexpr std::uint64_t kMaxSecretFileBytes = 4096;

std::string_view first_line(std::string_view text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::filesystem::path initial_password_file(const store::HomePaths& paths) {
  return paths.work_config / "initial-admin-password";
}

std::optional<std::string> take_admin_password() {
  char* value = std::getenv(kAdminPasswordVariable);
  if (value == nullptr) return std::nullopt;
  std::string password(value);
  // unsetenv only forgets the pointer: the text itself would stay readable in /proc/<pid>/environ.
  sodium_memzero(value, std::strlen(value));
  ::unsetenv(kAdminPasswordVariable);
  if (password.empty()) return std::nullopt;
  return password;
}

Result<std::unique_ptr<Identity>> Identity::open(const store::HomePaths& paths, store::StateStore& state,
                                                 Options options, core::WallTime now) {
  const bool new_key = !std::filesystem::exists(paths.key_file);
  auto secrets = store::SecretBox::open(paths.key_file);
  if (!secrets) return std::unexpected(secrets.error());
  std::unique_ptr<Identity> identity(new Identity(std::move(*secrets)));
  if (new_key) identity->made_.files.push_back(paths.key_file);

  auto certificates = ensure_certificates(paths.ssl, host_names(), now);
  if (!certificates) return std::unexpected(certificates.error());
  auto& files = identity->made_.files;
  files.insert(files.end(), certificates->begin(), certificates->end());

  if (options.jwt_secret.empty()) {
    auto secret = identity->jwt_secret(paths.jwt_file);
    if (!secret) return std::unexpected(secret.error());
    options.jwt_secret = std::move(*secret);
  }
  if (auto psk = identity->ensure_psk(paths.psk_file); !psk) return std::unexpected(psk.error());

  auto users = UserDirectory::load({.file = paths.security_file,
                                    .template_file = paths.config / "security.yaml",
                                    .initial_password = initial_password_file(paths),
                                    .complexity = std::move(options.password_complexity)},
                                   identity->secrets_);
  if (!users) return std::unexpected(users.error());
  identity->users_ = std::move(*users);
  if (auto admin = identity->ensure_admin_password(initial_password_file(paths), std::move(options.admin_password));
      !admin) {
    return std::unexpected(admin.error());
  }

  auto revocations = Revocations::load(state, now);
  if (!revocations) return std::unexpected(revocations.error());
  identity->revocations_ = std::move(*revocations);
  auto tokens = Tokens::make({.secret = std::move(options.jwt_secret),
                              .issuer = std::move(options.issuer),
                              .audiences = std::move(options.audiences),
                              .home = identity->secrets_.home_id()},
                             *identity->users_, *identity->revocations_);
  if (!tokens) return std::unexpected(tokens.error());
  identity->tokens_ = std::move(*tokens);
  identity->totp_ =
      std::make_unique<Totp>(*identity->users_, *identity->revocations_, std::move(options.totp_replay_protection));
  return identity;
}

Result<std::string> Identity::jwt_secret(const std::filesystem::path& file) {
  auto sealed = platform::read_file(file, kMaxSecretFileBytes);
  if (sealed) {
    auto secret = secrets_.unseal(first_line(*sealed), kJwtContext);
    if (!secret) {
      return fail(ErrorKind::internal, fmt::format("{} can not be unsealed with the key of this home", file.string()),
                  secret.error().message);
    }
    return secret;
  }
  if (sealed.error().kind != ErrorKind::not_found) return std::unexpected(sealed.error());
  // Hex: libjwt takes any bytes, but people who share the secret between nodes copy text.
  std::string secret = platform::random_hex(32);
  if (auto written = platform::create_file(file, secrets_.seal(secret, kJwtContext) + "\n", 0600); !written) {
    return std::unexpected(written.error());
  }
  made_.files.push_back(file);
  return secret;
}

Result<void> Identity::ensure_psk(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) return {};
  if (auto written = platform::create_file(file, platform::random_hex(32) + "\n", 0600); !written) return written;
  made_.files.push_back(file);
  return {};
}

Result<void> Identity::ensure_admin_password(const std::filesystem::path& file, std::optional<std::string> given) {
  const auto snapshot = users_->snapshot();
  const User* admin = snapshot->find(kAdmin);
  // A file without an admin is somebody's decision, and one with a key needs nothing.
  if (admin == nullptr || !admin->key.empty()) {
    if (given) wipe(*given);
    return {};
  }
  std::string password;
  if (given) {
    password = std::move(*given);
  } else {
    // The file first: a password that was set and then lost would lock everybody out.
    auto earlier = platform::read_file(file, kMaxSecretFileBytes);
    if (earlier && !first_line(*earlier).empty()) {
      password = first_line(*earlier);
      wipe(*earlier);
    } else if (earlier || earlier.error().kind == ErrorKind::not_found) {
      password = random_password();
      if (auto written = platform::write_file_atomic(file, password + "\n", 0600); !written) return written;
      made_.files.push_back(file);
    } else {
      return std::unexpected(earlier.error());
    }
    made_.admin_password = password;
  }
  auto hashed = hash_password(password);
  wipe(password);
  if (!hashed) return std::unexpected(hashed.error());
  return users_->set_first_key(kAdmin, std::move(*hashed));
}

}  // namespace appmesh::security

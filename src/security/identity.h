// Everything of this room put together and made at the first start: keys and secrets, certificates, the user directory,
// revocations and tokens. Owned by the daemon for its whole life; open() blocks and is called once, before the
// listeners and before other threads read the environment. The parts say themselves which thread may call them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/time.h"
#include "security/revocations.h"
#include "security/tokens.h"
#include "security/totp.h"
#include "security/user_directory.h"
#include "store/home_paths.h"
#include "store/secret_box.h"
#include "store/state_store.h"

namespace appmesh::security {

// The file that holds the administrator's random password (0600) until it is changed.
[[nodiscard]] std::filesystem::path initial_password_file(const store::HomePaths& paths);

// APPMESH_ADMIN_PASSWORD, which is wiped from the process's memory and environment so that no child inherits it. Call
// it before there are other threads.
[[nodiscard]] std::optional<std::string> take_admin_password();

class Identity {
 public:
  struct Options {
    std::string jwt_secret;  // REST.JWT.JWTSalt; empty: the secret file, made when it is not there
    std::string issuer;
    std::vector<std::string> audiences;
    std::function<bool()> password_complexity;
    std::function<bool()> totp_replay_protection = [] { return true; };
    std::optional<std::string> admin_password;  // for an admin who has none yet; empty: a random one
  };

  // What open() had to make, for the log and the first start's message.
  struct Made {
    std::vector<std::filesystem::path> files;
    std::optional<std::string> admin_password;  // random, to be shown once and then wiped
  };

  // Idempotent; each step is complete or not there, so an interrupted start is finished by the next one. `state` must
  // live longer.
  static Result<std::unique_ptr<Identity>> open(const store::HomePaths& paths, store::StateStore& state,
                                                Options options, core::WallTime now);

  [[nodiscard]] const store::SecretBox& secrets() const { return secrets_; }
  [[nodiscard]] UserDirectory& users() { return *users_; }
  [[nodiscard]] Tokens& tokens() { return *tokens_; }
  [[nodiscard]] Totp& totp() { return *totp_; }
  [[nodiscard]] Made& made() { return made_; }

  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;

 private:
  explicit Identity(store::SecretBox secrets) : secrets_(std::move(secrets)) {}
  Result<std::string> jwt_secret(const std::filesystem::path& file);
  Result<void> ensure_psk(const std::filesystem::path& file);
  Result<void> ensure_admin_password(const std::filesystem::path& file, std::optional<std::string> given);

  store::SecretBox secrets_;
  std::unique_ptr<UserDirectory> users_;
  std::unique_ptr<Revocations> revocations_;
  std::unique_ptr<Tokens> tokens_;
  std::unique_ptr<Totp> totp_;
  Made made_;
};

}  // namespace appmesh::security

// A home of its own with a real state store and everything of the security room opened in it. For tests only; one
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "platform/clock.h"
#include "platform/file.h"
#include "platform/test_directory.h"
#include "security/identity.h"
#include "security/passwords.h"

namespace appmesh::security {

inline constexpr const char* kTestPassword = "correct horse 7!";
inline constexpr const char* kTestSecret = "0123456789abcdef0123456789abcdef";

class TestIdentity {
 public:
  TestIdentity() : paths_(store::home_paths(directory_.path())) {
    const auto made = store::make_home(paths_);
    EXPECT_TRUE(made) << (made ? "" : made.error().message);
  }

  // Everything as after a start of the daemon; the one before is gone.
  void open(std::optional<std::string> admin_password = kTestPassword, std::string jwt_secret = kTestSecret) {
    close();
    auto state = store::StateStore::open(paths_.state_file, {});
    ASSERT_TRUE(state) << state.error().message;
    state_ = std::move(*state);
    auto identity = Identity::open(paths_, *state_,
                                   {.jwt_secret = std::move(jwt_secret),
                                    .issuer = "test-host",
                                    .audiences = {"appmesh-service", "appmesh-file-service", "your-service-api"},
                                    .admin_password = std::move(admin_password)},
                                   platform::wall_now());
    ASSERT_TRUE(identity) << identity.error().message << " " << identity.error().cause;
    identity_ = std::move(*identity);
  }

  void close() {
    identity_.reset();
    state_.reset();
  }

  void write_security_yaml(const std::string& text) {
    const auto written = platform::write_file_atomic(paths_.security_file, text, 0600);
    ASSERT_TRUE(written) << written.error().message;
  }
  [[nodiscard]] std::string read_security_yaml() const {
    return platform::read_file(paths_.security_file, 1024 * 1024).value_or("");
  }

  [[nodiscard]] const store::HomePaths& paths() const { return paths_; }
  [[nodiscard]] Identity& identity() { return *identity_; }
  [[nodiscard]] UserDirectory& users() { return identity_->users(); }
  [[nodiscard]] Tokens& tokens() { return identity_->tokens(); }
  [[nodiscard]] store::StateStore& state() { return *state_; }

 private:
  platform::TestDirectory directory_;
  store::HomePaths paths_;
  std::unique_ptr<store::StateStore> state_;
  std::unique_ptr<Identity> identity_;
};

}  // namespace appmesh::security

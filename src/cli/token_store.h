// What appc remembers between calls: one token per daemon and the daemon used last. Files of the user alone (0700,
// 0600), replaced atomically, so several appc may run at once. No state in memory; any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <appmesh/url.h>

namespace appmesh::cli {

class TokenStore {
 public:
  // Below $APPMESH_HOME when set, else ~/.local/share/appmesh and ~/.config/appmesh.
  static TokenStore from_environment();
  TokenStore(std::filesystem::path data_root, std::filesystem::path config_root)
      : data_root_(std::move(data_root)), config_root_(std::move(config_root)) {}

  [[nodiscard]] std::optional<std::string> load(const Url& url) const;
  void save(const Url& url, std::string_view token) const;
  void remove(const Url& url) const;

  [[nodiscard]] std::optional<std::string> last_host_url() const;
  void save_last_host_url(std::string_view url) const;

  // tokens/<host>/.token; a port other than the default is part of the folder's name.
  [[nodiscard]] std::filesystem::path token_file(const Url& url) const;
  [[nodiscard]] std::filesystem::path config_file() const { return config_root_ / ".appmesh.config"; }

 private:
  std::filesystem::path data_root_;
  std::filesystem::path config_root_;
};

}  // namespace appmesh::cli

// Secrets at rest: AES-256-GCM with a key that lies in a root-only file made at first start (docs/wire.md#secrets).
// Immutable after open(); any thread.
#pragma once

#include <array>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/error.h"

namespace appmesh::store {

class SecretBox {
 public:
  // Reads the 32-byte key file, or makes it (0600, exclusive) when it does not exist. Errors: unreadable, wrong size,
  // or readable by others.
  static Result<SecretBox> open(const std::filesystem::path& key_file);

  // Base64 text of nonce, ciphertext and tag. `context` is authenticated but not stored (say the owner's name), so a
  // sealed value cannot be moved to another place.
  [[nodiscard]] std::string seal(std::string_view plain, std::string_view context) const;
  [[nodiscard]] Result<std::string> unseal(std::string_view sealed, std::string_view context) const;
  // 16 hex digits that name this home and tell nothing of the key.
  [[nodiscard]] std::string home_id() const;

  ~SecretBox();
  SecretBox(SecretBox&&) noexcept;
  SecretBox& operator=(SecretBox&&) noexcept;

 private:
  SecretBox() = default;
  std::array<unsigned char, 32> key_{};
};

}  // namespace appmesh::store

#include "store/secret_box.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <stdexcept>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "platform/file.h"
#include "platform/random.h"
#include "store/base64.h"

namespace appmesh::store {
namespace {

constexpr std::size_t kNonceBytes = 12;  // NIST SP 800-38D: 96 bits, random
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kMaxSealedBytes = 4U << 20U;

struct ContextFree {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextFree>;

unsigned char* bytes(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}
const unsigned char* bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

Result<SecretBox> SecretBox::open(const std::filesystem::path& key_file) {
  SecretBox box;
  auto key = platform::read_private_file(key_file, box.key_.size() + 1);
  if (!key && key.error().kind == ErrorKind::not_found) {
    std::string fresh = platform::random_bytes(box.key_.size());
    auto made = platform::create_file(key_file, fresh, 0600);
    OPENSSL_cleanse(fresh.data(), fresh.size());
    // Two first starts at once: the one that came second uses the key of the first.
    if (!made && made.error().kind != ErrorKind::conflict) return std::unexpected(made.error());
    key = platform::read_private_file(key_file, box.key_.size() + 1);
  }
  if (!key && key.error().kind != ErrorKind::too_large) return std::unexpected(key.error());
  if (!key || key->size() != box.key_.size()) {
    return fail(ErrorKind::invalid_argument, key_file.string() + " is not a key: it must hold exactly " +
                                                 std::to_string(box.key_.size()) + " bytes");
  }
  std::ranges::copy(*key, box.key_.begin());
  OPENSSL_cleanse(key->data(), key->size());
  return box;
}

std::string SecretBox::seal(std::string_view plain, std::string_view context) const {
  std::string raw(kNonceBytes + plain.size() + kTagBytes, '\0');
  platform::fill_random({bytes(raw), kNonceBytes});
  const Context cipher{EVP_CIPHER_CTX_new()};
  int size = 0;
  const bool sealed =
      cipher != nullptr && EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes(raw)) == 1 &&
      EVP_EncryptUpdate(cipher.get(), nullptr, &size, bytes(context), static_cast<int>(context.size())) == 1 &&
      EVP_EncryptUpdate(cipher.get(), bytes(raw) + kNonceBytes, &size, bytes(plain), static_cast<int>(plain.size())) ==
          1 &&
      EVP_EncryptFinal_ex(cipher.get(), bytes(raw) + kNonceBytes + plain.size(), &size) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, bytes(raw) + kNonceBytes + plain.size()) == 1;
  if (!sealed) throw std::runtime_error("AES-256-GCM is not available");  // no input can cause this
  return to_base64(raw);
}

Result<std::string> SecretBox::unseal(std::string_view sealed, std::string_view context) const {
  auto raw = sealed.size() > kMaxSealedBytes ? std::nullopt : from_base64(sealed);
  if (!raw) return fail(ErrorKind::invalid_argument, "the sealed value is not base64 text");
  if (raw->size() < kNonceBytes + kTagBytes) {
    return fail(ErrorKind::invalid_argument, "the sealed value is cut short");
  }
  const std::size_t plain_bytes = raw->size() - kNonceBytes - kTagBytes;
  std::string plain(plain_bytes, '\0');
  const Context cipher{EVP_CIPHER_CTX_new()};
  int size = 0;
  const bool opened =
      cipher != nullptr &&
      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, key_.data(), bytes(*raw)) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &size, bytes(context), static_cast<int>(context.size())) == 1 &&
      EVP_DecryptUpdate(cipher.get(), bytes(plain), &size, bytes(*raw) + kNonceBytes, static_cast<int>(plain_bytes)) ==
          1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, bytes(*raw) + kNonceBytes + plain_bytes) ==
          1 &&
      EVP_DecryptFinal_ex(cipher.get(), bytes(plain) + plain_bytes, &size) == 1;
  if (!opened) {
    OPENSSL_cleanse(plain.data(), plain.size());
    ERR_clear_error();
    return fail(ErrorKind::invalid_argument,
                "the sealed value was made with another key, for another owner, or was changed");
  }
  return plain;
}

SecretBox::~SecretBox() {
  OPENSSL_cleanse(key_.data(), key_.size());
}

SecretBox::SecretBox(SecretBox&& other) noexcept : key_(other.key_) {
  OPENSSL_cleanse(other.key_.data(), other.key_.size());
}

SecretBox& SecretBox::operator=(SecretBox&& other) noexcept {
  if (this != &other) {
    key_ = other.key_;
    OPENSSL_cleanse(other.key_.data(), other.key_.size());
  }
  return *this;
}

std::string SecretBox::home_id() const {
  constexpr std::string_view kContext = "appmesh home id";
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned length = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), bytes(kContext), kContext.size(), mac.data(), &length);
  std::string id;
  for (const unsigned char each : std::span(mac).first(8)) {
    constexpr std::string_view kHex = "0123456789abcdef";
    id += kHex[each >> 4U];
    id += kHex[each & 15U];
  }
  return id;
}

}  // namespace appmesh::store

#include "store/base64.h"

#include <sodium.h>

namespace appmesh::store {
namespace {

int variant(Base64 form) {
  switch (form) {
    case Base64::padded:
      return sodium_base64_VARIANT_ORIGINAL;
    case Base64::bare:
      return sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
    case Base64::url:
      return sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  }
  return sodium_base64_VARIANT_ORIGINAL;
}

}  // namespace

std::string to_base64(std::string_view bytes, Base64 form) {
  std::string text(sodium_base64_encoded_len(bytes.size(), variant(form)), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                    variant(form));
  text.pop_back();  // its NUL
  return text;
}

std::optional<std::string> from_base64(std::string_view text, Base64 form) {
  std::string bytes(text.size(), '\0');
  std::size_t length = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(), text.data(), text.size(), nullptr,
                        &length, nullptr, variant(form)) != 0) {
    sodium_memzero(bytes.data(), bytes.size());  // the half of a password is a secret too
    return std::nullopt;
  }
  bytes.resize(length);
  return bytes;
}

}  // namespace appmesh::store

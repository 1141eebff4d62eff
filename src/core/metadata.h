// What an app finds on its stdin, as its user wrote it: a text, or JSON kept as text, byte for byte, so that no number
// changes its spelling and no digit is lost on the way. A value whose copies share the bytes; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace appmesh::core {

inline constexpr std::size_t kMostMetadataBytes = 1024UL * 1024;  // of text(): what is sent, and what stdin gives

class Metadata {
 public:
  enum class Kind : std::uint8_t { none, text, json };

  Metadata() = default;  // none

  // From the JSON text of the member `metadata`. null and "" are none, a string is a text, and one that holds an object
  // or an array is that JSON. Any other value is kept as it stands. Errors: invalid_argument that gives the reason.
  [[nodiscard]] static Result<Metadata> from_json(std::string_view json);

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] std::string_view text() const { return text_ ? std::string_view(*text_) : std::string_view(); }
  [[nodiscard]] std::string json() const;  // "null" for none; from_json() makes the same metadata of it

  // Blanks, the order of members and the spelling of numbers do not count: what a client reads and writes back.
  [[nodiscard]] bool says_the_same(const Metadata& other) const;
  bool operator==(const Metadata& other) const { return kind_ == other.kind_ && text() == other.text(); }

 private:
  Metadata(Kind kind, std::string_view text) : kind_(kind), text_(std::make_shared<const std::string>(text)) {}

  Kind kind_ = Kind::none;
  std::shared_ptr<const std::string> text_;
};

}  // namespace appmesh::core

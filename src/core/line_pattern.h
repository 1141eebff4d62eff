// The regular expression of `readiness: {by: log}`: RE2 syntax (https://github.com/google/re2/wiki/Syntax), found
// anywhere in a line. RE2 matches in linear time and bounded memory, whatever a user writes. Immutable, any thread.
#pragma once

#include <memory>
#include <string_view>

#include "core/error.h"

namespace re2 {
class RE2;
}

namespace appmesh::core {

class LinePattern {
 public:
  // Errors: invalid_argument with the reason; a pattern whose program needs more than 1 MiB counts as one.
  [[nodiscard]] static Result<LinePattern> compile(std::string_view pattern);
  [[nodiscard]] bool matches(std::string_view line) const;

 private:
  explicit LinePattern(std::shared_ptr<const re2::RE2> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const re2::RE2> compiled_;
};

}  // namespace appmesh::core

#include "core/line_pattern.h"

#include <re2/re2.h>

namespace appmesh::core {

namespace {

constexpr std::int64_t kMostProgramBytes = 1024 * 1024;

}  // namespace

Result<LinePattern> LinePattern::compile(std::string_view pattern) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kMostProgramBytes);
  options.set_never_capture(true);
  auto compiled = std::make_shared<const RE2>(re2::StringPiece(pattern.data(), pattern.size()), options);
  if (!compiled->ok()) return fail(ErrorKind::invalid_argument, compiled->error());
  return LinePattern(std::move(compiled));
}

bool LinePattern::matches(std::string_view line) const {
  return RE2::PartialMatch(re2::StringPiece(line.data(), line.size()), *compiled_);
}

}  // namespace appmesh::core

#include "api/query_numbers.h"

#include <charconv>

#include <fmt/format.h>

#include "core/duration.h"
#include "core/text.h"

namespace appmesh::api {

Result<std::int64_t> query_number(const Request& request, std::string_view name, NumberRange range) {
  const auto text = request.query_value(name);
  if (!text || text->empty()) return range.fallback;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error == std::errc::result_out_of_range) return range.fallback;
  if (error != std::errc{} || end != text->data() + text->size()) {
    const auto duration = core::parse_duration(*text);
    if (!duration)
      return fail(ErrorKind::invalid_argument,
                  fmt::format("query '{}': <{}> is neither a number nor a duration", name, core::printable(*text)));
    value = duration->count();
  }
  return value < range.minimum || value > range.maximum ? range.fallback : value;
}

Result<bool> query_flag(const Request& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (!text || text->empty() || *text == "false" || *text == "0") return false;
  if (*text == "true" || *text == "1") return true;
  return fail(ErrorKind::invalid_argument,
              fmt::format("query '{}': <{}> is neither true nor false", name, core::printable(*text)));
}

}  // namespace appmesh::api

#include "api/text_checks.h"

#include <algorithm>
#include <string>
#include <vector>

#include "core/app_definition.h"
#include "core/text.h"

namespace appmesh::api {
namespace {

constexpr std::size_t kMostUnknownNamed = 32;

bool is_authorization(std::string_view name) {
  constexpr std::string_view kName = "authorization";
  return std::ranges::equal(name, kName, {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
}

}  // namespace

Result<void> refuse_unknown_fields(const boost::json::object& body, std::initializer_list<std::string_view> known,
                                   std::initializer_list<std::string_view> shown) {
  std::vector<core::UnknownField> unknown;
  for (const auto& [key, value] : body) {
    const auto is_key = [name = std::string_view(key)](std::string_view other) { return other == name; };
    if (std::ranges::any_of(known, is_key) || std::ranges::any_of(shown, is_key)) continue;
    unknown.push_back({core::printable(key), std::string(core::nearest_word(key, {known.begin(), known.end()}))});
    if (unknown.size() == kMostUnknownNamed) break;
  }
  return core::refuse_unknown(unknown);
}

Result<void> check_text(const Request& request) {
  const auto refuse = [](std::string_view what, std::string_view name) {
    return fail(ErrorKind::invalid_argument, std::string(what) + " '" + core::printable(name) + "': not valid UTF-8");
  };
  for (const auto& [name, value] : request.query) {
    if (!core::is_utf8(name) || !core::is_utf8(value)) return refuse("query", name);
  }
  for (const auto& [name, value] : request.headers) {
    const bool is_text = name.size() > 2 && (name[0] == 'x' || name[0] == 'X') && name[1] == '-';
    if ((is_text || is_authorization(name)) && !core::is_utf8(value)) return refuse("header", name);
  }
  return {};
}

}  // namespace appmesh::api

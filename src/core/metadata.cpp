#include "core/metadata.h"

#include <appmesh/wire/json_text.h>
#include <fmt/format.h>

#include "core/text.h"

namespace appmesh::core {

namespace {

namespace json = boost::json;

bool has_nul(const json::value& value) {
  const auto in = [](std::string_view text) { return text.find('\0') != std::string_view::npos; };
  if (const auto* text = value.if_string()) return in(*text);
  if (const auto* array = value.if_array()) {
    for (const auto& item : *array)
      if (has_nul(item)) return true;
  }
  if (const auto* object = value.if_object()) {
    for (const auto& [key, item] : *object)
      if (in(key) || has_nul(item)) return true;
  }
  return false;
}

bool may_be_structure(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
}

}  // namespace

Result<Metadata> Metadata::from_json(std::string_view text) {
  const auto refuse = [](std::string message) { return fail(ErrorKind::invalid_argument, std::move(message)); };
  boost::system::error_code error;
  json::value value = wire::read_json(text, error);
  if (error == json::error::too_deep) return refuse("nested too deeply");
  if (error) return refuse(is_utf8(text) ? error.message() : "is not valid UTF-8");
  if (value.is_null()) return Metadata{};
  Kind kind = Kind::json;
  std::string plain;
  if (const auto* string = value.if_string()) {
    if (string->empty()) return Metadata{};
    plain.assign(string->data(), string->size());
    text = plain;
    kind = Kind::text;
    if (may_be_structure(text)) {
      json::value inner = wire::read_json(text, error);
      if (!error) {
        kind = Kind::json;
        value = std::move(inner);
      }
    }
  }
  if (text.size() > kMostMetadataBytes) return refuse(fmt::format("more than {} bytes", kMostMetadataBytes));
  if (has_nul(value)) return refuse("must not contain a NUL byte");
  return Metadata(kind, text);
}

std::string Metadata::json() const {
  if (kind_ == Kind::none) return "null";
  if (kind_ == Kind::json) return std::string(text());
  std::string quoted;
  wire::append_json_string(quoted, text());
  return quoted;
}

bool Metadata::says_the_same(const Metadata& other) const {
  return *this == other || (kind_ == Kind::json && other.kind_ == Kind::json && wire::same_json(text(), other.text()));
}

}  // namespace appmesh::core

#include <appmesh/wire/json_text.h>

#include "api/request.h"

namespace appmesh::api {
namespace {

Error malformed(std::size_t position, std::string_view reason) {
  return Error{ErrorKind::invalid_argument,
               "Malformed JSON at position " + std::to_string(position) + ": " + std::string(reason),
               {}};
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

Result<boost::json::value> parse_json_body(const Request& request) {
  namespace json = boost::json;
  const std::string_view text = request.body;
  if (is_blank(text)) return fail(ErrorKind::invalid_argument, "Empty json input");
  if (text.size() > kMaxJsonBytes) {
    return fail(ErrorKind::too_large, "JSON body is longer than " + std::to_string(kMaxJsonBytes) + " bytes");
  }
  boost::system::error_code error;
  std::size_t position = 0;
  json::value value = wire::read_json(text, error, &position, kMaxJsonDepth);
  if (error == json::error::extra_data) return std::unexpected(malformed(position, "characters after the value"));
  if (error) return std::unexpected(malformed(position, error.message()));
  if (value.is_null()) return fail(ErrorKind::invalid_argument, "Empty json input");
  return value;
}

Result<boost::json::object> parse_json_object(const Request& request) {
  auto value = parse_json_body(request);
  if (!value) return std::unexpected(std::move(value.error()));
  if (!value->is_object()) return fail(ErrorKind::invalid_argument, "JSON object expected");
  return std::move(value->get_object());
}

}  // namespace appmesh::api

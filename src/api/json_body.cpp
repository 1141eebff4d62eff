#include <boost/json/parse_options.hpp>
#include <boost/json/stream_parser.hpp>

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
  json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  json::stream_parser parser({}, options);
  boost::system::error_code error;
  const std::size_t used = parser.write_some(text.data(), text.size(), error);
  if (error) return std::unexpected(malformed(used, error.message()));
  // write_some() takes the blanks after the value, so whatever is left does not belong to it.
  if (used < text.size()) return std::unexpected(malformed(used, "characters after the value"));
  parser.finish(error);
  if (error) return std::unexpected(malformed(text.size(), error.message()));
  json::value value = parser.release();
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

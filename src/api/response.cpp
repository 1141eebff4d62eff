#include <appmesh/wire/json_text.h>

#include "api/request.h"

namespace appmesh::api {

Response json_response(const boost::json::value& value, int status) {
  return json_text_response(wire::write_json(value), status);
}

Response json_text_response(std::string json, int status) {
  Response response;
  response.status = status;
  response.content_type = kJsonType;
  response.body = std::move(json);
  return response;
}

Response text_response(std::string text, int status) {
  Response response;
  response.status = status;
  response.content_type = kTextType;
  response.body = std::move(text);
  return response;
}

Response message_response(std::string_view message, int status) {
  std::string json = "{\"message\":";
  wire::append_json_string(json, message);
  json += '}';
  return json_text_response(std::move(json), status);
}

Response error_response(const Error& error) {
  Response response = message_response(error.message, http_status(error.kind));
  response.log_note = error.cause;
  return response;
}

}  // namespace appmesh::api

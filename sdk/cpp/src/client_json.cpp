#include "client_json.h"

#include <appmesh/app.h>
#include <appmesh/error.h>
#include <appmesh/url.h>
#include <appmesh/wire/json_text.h>

namespace appmesh::detail {
namespace {

constexpr std::size_t kMaxMessageBytes = 1000;

std::string named_path(const char* prefix, std::string_view name, std::string_view action) {
  // An empty segment would reach another route: /app//enable is /app/enable.
  if (name.empty()) throw ClientError(ErrorKind::kUsage, "the name is empty");
  if (name == "." || name == "..") throw ClientError(ErrorKind::kUsage, "'" + std::string(name) + "' is not a name");
  std::string path = prefix + percent_encode(name);
  if (!action.empty()) path.append("/").append(action);
  return path;
}

boost::json::value parse(const Response& response) {
  boost::system::error_code error;
  boost::json::value value = wire::read_json(response.body, error);
  if (error) throw ClientError(ErrorKind::kProtocol, "the server's answer is not JSON: " + error.message());
  return value;
}

}  // namespace

std::string app_path(std::string_view name, std::string_view action) {
  return named_path("/appmesh/app/", name, action);
}
std::string user_path(std::string_view name, std::string_view action) {
  return named_path("/appmesh/user/", name, action);
}

boost::json::object parse_object(const Response& response) {
  boost::json::value value = parse(response);
  if (!value.is_object()) throw ClientError(ErrorKind::kProtocol, "the server's answer is not a JSON object");
  return std::move(value.get_object());
}

boost::json::array parse_array(const Response& response) {
  boost::json::value value = parse(response);
  if (!value.is_array()) throw ClientError(ErrorKind::kProtocol, "the server's answer is not a JSON array");
  return std::move(value.get_array());
}

void fail(const Response& response) {
  std::string message;
  boost::system::error_code error;
  const boost::json::value body = wire::read_json(response.body, error);
  if (!error && body.is_object()) message = App(body.get_object()).text("message").value_or("");
  if (message.empty()) message = response.body.substr(0, kMaxMessageBytes);
  while (!message.empty() && (message.back() == '\n' || message.back() == '\r')) message.pop_back();
  if (message.empty()) message = "the server answered with status " + std::to_string(response.status);
  throw ClientError(ErrorKind::kStatus, message, response.status);
}

}  // namespace appmesh::detail

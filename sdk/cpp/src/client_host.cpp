#include <appmesh/client.h>
#include <appmesh/url.h>
#include <appmesh/wire/json_text.h>

#include "client_json.h"

namespace appmesh {

using detail::parse_array;
using detail::parse_object;
using detail::user_path;

namespace {

std::string label_path(std::string_view name) {
  if (name.empty()) throw ClientError(ErrorKind::kUsage, "the label name is empty");
  return "/appmesh/label/" + percent_encode(name);
}

std::string role_path(std::string_view role) {
  if (role.empty()) throw ClientError(ErrorKind::kUsage, "the role name is empty");
  return "/appmesh/role/" + percent_encode(role);
}

}  // namespace

std::map<std::string, std::string> Client::labels() {
  std::map<std::string, std::string> labels;
  for (const auto& [name, value] : parse_object(send("GET", "/appmesh/labels"))) {
    if (value.is_string()) labels.emplace(std::string(name), std::string(value.get_string()));
  }
  return labels;
}

void Client::set_label(std::string_view name, std::string_view value) {
  send("PUT", label_path(name), {{"value", std::string(value)}});
}
void Client::delete_label(std::string_view name) {
  send("DELETE", label_path(name));
}

boost::json::object Client::config() {
  return parse_object(send("GET", "/appmesh/config"));
}
boost::json::object Client::set_config(const boost::json::object& change) {
  return parse_object(send("POST", "/appmesh/config", {}, wire::write_json(change)));
}
boost::json::object Client::resources() {
  return parse_object(send("GET", "/appmesh/resources"));
}
std::string Client::metrics() {
  return send("GET", "/appmesh/metrics").body;
}

boost::json::object Client::users() {
  return parse_object(send("GET", "/appmesh/users"));
}
boost::json::object Client::user_self() {
  return parse_object(send("GET", "/appmesh/user/self"));
}
void Client::set_user(std::string_view name, const boost::json::object& user) {
  send("PUT", user_path(name), {}, wire::write_json(user));
}
void Client::delete_user(std::string_view name) {
  send("DELETE", user_path(name));
}

void Client::set_password(std::string_view old_password, std::string_view new_password, std::string_view user) {
  App body;
  body.set("old_password", boost::json::string(base64_encode(old_password)))
      .set("new_password", boost::json::string(base64_encode(new_password)));
  send("POST", user_path(user, "passwd"), {}, wire::write_json(body.json()));
}

void Client::lock_user(std::string_view name) {
  send("POST", user_path(name, "lock"));
}
void Client::unlock_user(std::string_view name) {
  send("POST", user_path(name, "unlock"));
}

boost::json::object Client::roles() {
  return parse_object(send("GET", "/appmesh/roles"));
}
void Client::set_role(std::string_view role, const boost::json::array& permissions) {
  send("POST", role_path(role), {}, wire::write_json(permissions));
}
void Client::delete_role(std::string_view role) {
  send("DELETE", role_path(role));
}
boost::json::array Client::own_permissions() {
  return parse_array(send("GET", "/appmesh/user/permissions"));
}
boost::json::array Client::permissions() {
  return parse_array(send("GET", "/appmesh/permissions"));
}
boost::json::array Client::groups() {
  return parse_array(send("GET", "/appmesh/user/groups"));
}

}  // namespace appmesh

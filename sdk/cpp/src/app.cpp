#include <appmesh/app.h>
#include <boost/json/array.hpp>

namespace appmesh {

App::App(std::string_view name, std::string_view command) {
  if (!name.empty()) json_["name"] = boost::json::string(name);
  if (!command.empty()) json_["command"] = boost::json::string(command);
}

std::optional<std::string> App::text(std::string_view field) const {
  const boost::json::value* value = json_.if_contains(field);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string().c_str(), value->get_string().size());
}

std::optional<std::int64_t> App::number(std::string_view field) const {
  const boost::json::value* value = json_.if_contains(field);
  if (value == nullptr) return std::nullopt;
  if (value->is_int64()) return value->get_int64();
  if (value->is_uint64()) return static_cast<std::int64_t>(value->get_uint64());
  if (value->is_bool()) return value->get_bool() ? 1 : 0;
  return std::nullopt;
}

std::optional<double> App::real(std::string_view field) const {
  const boost::json::value* value = json_.if_contains(field);
  if (value != nullptr && value->is_double()) return value->get_double();
  if (const auto whole = number(field)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::optional<std::string> App::process_uuid() const {
  if (auto own = text("process_uuid")) return own;
  const boost::json::value* runs = json_.if_contains("runs");
  if (runs == nullptr || !runs->is_array() || runs->get_array().empty()) return std::nullopt;
  const boost::json::value& first = runs->get_array().front();
  if (!first.is_object()) return std::nullopt;
  return App(first.get_object()).text("process_uuid");
}

App& App::set(std::string_view field, boost::json::value value) {
  json_[field] = std::move(value);
  return *this;
}

boost::json::object& App::child(std::string_view field) {
  boost::json::value& value = json_[field];
  if (!value.is_object()) value.emplace_object();
  return value.get_object();
}

App& App::set_env(std::string_view name, std::string_view value) {
  child("env")[name] = boost::json::string(value);
  return *this;
}

App& App::set_secret_env(std::string_view name, std::string_view value) {
  child("sec_env")[name] = boost::json::string(value);
  return *this;
}

App& App::set_exit_behavior(std::string_view action) {
  child("behavior")["exit"] = boost::json::string(action);
  return *this;
}

App& App::set_control_behavior(int exit_code, std::string_view action) {
  boost::json::value& control = child("behavior")["control"];
  if (!control.is_object()) control.emplace_object();
  control.get_object()[std::to_string(exit_code)] = boost::json::string(action);
  return *this;
}

}  // namespace appmesh

// An application as the daemon's JSON describes it (docs/wire.md#definition), with typed access to the fields that
// programs ask for most. The JSON itself stays the truth, so a field that this library does not know is never lost.
// A plain value: copy it, move it, one thread at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace appmesh {

enum class AppStatus : std::int64_t { kDisabled = 0, kEnabled = 1, kNotAvailable = 2 };

class App {
 public:
  App() = default;
  explicit App(std::string_view name, std::string_view command = {});
  explicit App(boost::json::object json) : json_(std::move(json)) {}

  [[nodiscard]] std::string name() const { return text("name").value_or(""); }
  [[nodiscard]] std::string command() const { return text("command").value_or(""); }
  [[nodiscard]] std::string owner() const { return text("owner").value_or(""); }
  [[nodiscard]] AppStatus status() const { return static_cast<AppStatus>(number("status").value_or(1)); }
  [[nodiscard]] bool healthy() const { return number("health") == 0; }
  [[nodiscard]] std::optional<std::int64_t> pid() const { return number("pid"); }
  [[nodiscard]] std::optional<std::int64_t> return_code() const { return number("return_code"); }
  [[nodiscard]] std::optional<std::int64_t> memory_bytes() const { return number("memory"); }
  [[nodiscard]] std::optional<double> cpu_percent() const { return real("cpu"); }
  [[nodiscard]] std::optional<std::int64_t> starts() const { return number("starts"); }
  // Id of the run that goes on now or went last, when the daemon tells it in the app's JSON.
  [[nodiscard]] std::optional<std::string> process_uuid() const;

  // A field by its name on the wire; nothing when it is absent, null or of another type.
  [[nodiscard]] std::optional<std::string> text(std::string_view field) const;
  [[nodiscard]] std::optional<std::int64_t> number(std::string_view field) const;
  [[nodiscard]] std::optional<double> real(std::string_view field) const;

  App& set(std::string_view field, boost::json::value value);
  App& set_env(std::string_view name, std::string_view value);
  App& set_secret_env(std::string_view name, std::string_view value);
  // standby, restart, keepalive or remove.
  App& set_exit_behavior(std::string_view action);
  App& set_control_behavior(int exit_code, std::string_view action);

  [[nodiscard]] const boost::json::object& json() const { return json_; }
  [[nodiscard]] boost::json::object& json() { return json_; }

 private:
  boost::json::object& child(std::string_view field);

  boost::json::object json_;
};

}  // namespace appmesh

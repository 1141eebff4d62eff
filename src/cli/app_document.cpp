#include "cli/app_document.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include <boost/json/array.hpp>
#include <yaml-cpp/yaml.h>

#include "cli/exit_code.h"

namespace appmesh::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxNodes = 20'000;  // aliases can make a small text large
constexpr std::size_t kMaxDepth = 32;

constexpr std::array<std::string_view, 36> kWritable{"name",
                                                     "command",
                                                     "description",
                                                     "shell",
                                                     "session_login",
                                                     "metadata",
                                                     "working_dir",
                                                     "status",
                                                     "docker_image",
                                                     "stdout_cache_num",
                                                     "permission",
                                                     "behavior",
                                                     "health_check_cmd",
                                                     "start_time",
                                                     "end_time",
                                                     "cron",
                                                     "retention",
                                                     "daily_limitation",
                                                     "env",
                                                     "sec_env",
                                                     "pid",
                                                     "version",
                                                     "resource_limit",
                                                     "owner",
                                                     "register_time",
                                                     "instances",
                                                     "depends_on",
                                                     "readiness",
                                                     "start_missed",
                                                     "watchdog_seconds",
                                                     "start_interval_seconds"};
constexpr std::array<std::string_view, 26> kRuntime{"return_code",
                                                    "pid_user",
                                                    "memory",
                                                    "cpu",
                                                    "fd",
                                                    "pstree",
                                                    "task_id",
                                                    "task_status",
                                                    "container_id",
                                                    "last_start_time",
                                                    "last_exit_time",
                                                    "next_start_time",
                                                    "health",
                                                    "starts",
                                                    "stdout_cache_size",
                                                    "last_error",
                                                    "ready",
                                                    "status_text",
                                                    "waiting_for",
                                                    "runs",
                                                    "missed_starts",
                                                    "subscription_id",
                                                    "process_uuid",
                                                    "rolling_restart",
                                                    "invalid",
                                                    "tasks"};

struct Nested {
  std::string_view field;
  std::vector<std::string_view> keys;
};
const std::vector<Nested>& nested() {
  static const std::vector<Nested> kNested{
      {"behavior", {"exit", "control", "leftovers"}},
      {"daily_limitation", {"daily_start", "daily_end"}},
      {"resource_limit", {"memory_mb", "memory_virt_mb", "cpu_shares", "pids"}},
      {"readiness", {"by", "pattern", "timeout_seconds"}},
  };
  return kNested;
}

template <typename List>
bool among(const List& list, std::string_view key) {
  return !key.empty() && std::find(list.begin(), list.end(), key) != list.end();
}

// A companion text of a time field, which the daemon adds for readers.
bool is_companion(std::string_view key) {
  return key.ends_with("_TEXT") && (key.find("time") != std::string_view::npos || key.starts_with("daily_"));
}

class Converter {
 public:
  explicit Converter(const std::string& source) : source_(source) {}

  json::value convert(const YAML::Node& node, std::size_t depth) {
    if (++nodes_ > kMaxNodes || depth > kMaxDepth) fail("too large or too deeply nested");
    if (node.IsMap()) {
      json::object object;
      for (const auto& entry : node) {
        if (!entry.first.IsScalar()) fail("a key that is not text");
        const std::string& key = entry.first.Scalar();
        if (object.contains(key)) fail("the key '" + key + "' stands there twice");
        object[key] = convert(entry.second, depth + 1);
      }
      return object;
    }
    if (node.IsSequence()) {
      json::array array;
      for (const auto& child : node) array.push_back(convert(child, depth + 1));
      return array;
    }
    if (!node.IsScalar()) return nullptr;
    return scalar(node);
  }

  // Environment values are text; people write PORT: 8080.
  json::value texts(const YAML::Node& node, const std::string& field) {
    if (node.IsNull()) return nullptr;
    if (!node.IsMap()) fail("'" + field + "' must be a map of names to text");
    json::object object;
    for (const auto& entry : node) {
      if (!entry.second.IsScalar() && !entry.second.IsNull()) {
        fail("'" + field + "." + entry.first.Scalar() + "' is not text");
      }
      object[entry.first.Scalar()] = entry.second.IsNull() ? std::string() : entry.second.Scalar();
    }
    return object;
  }

  [[noreturn]] void fail(const std::string& why) const { throw CliError(kFailed, source_ + ": " + why); }

 private:
  static json::value scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    if (node.Tag() == "!") return json::string(text);  // quoted
    if (text == "true" || text == "True") return true;
    if (text == "false" || text == "False") return false;
    if (text == "~" || text == "null" || text.empty()) return nullptr;
    std::int64_t whole = 0;
    if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
        error == std::errc() && end == text.data() + text.size()) {
      return whole;
    }
    double real = 0;
    if (const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), real);
        error == std::errc() && end == text.data() + text.size() && text.find_first_of("0123456789") != text.npos) {
      return real;
    }
    return json::string(text);
  }

  std::string source_;
  std::size_t nodes_ = 0;
};

// What only a listing of the daemon holds.
bool is_listing(const json::object& app) {
  return app.contains("health") || app.contains("starts");
}

std::vector<std::string> unknown_keys(const json::object& app) {
  std::vector<std::string> unknown;
  for (const auto& [key, value] : app) {
    if (!among(kWritable, key) && !among(kRuntime, key) && !is_companion(key)) unknown.emplace_back(key);
  }
  for (const Nested& group : nested()) {
    const json::value* child = app.if_contains(group.field);
    if (child == nullptr || !child->is_object()) continue;
    for (const auto& [key, value] : child->get_object()) {
      if (among(group.keys, key) || is_companion(key)) continue;
      unknown.push_back(std::string(group.field) + "." + std::string(key));
    }
  }
  return unknown;
}

void drop_runtime(json::object& app) {
  // A pid beside what only a listing holds is that of the run then; alone it asks to attach to a process.
  if (is_listing(app)) app.erase("pid");
  for (const std::string_view key : kRuntime) app.erase(key);
  std::vector<std::string> companions;
  for (const auto& [key, value] : app) {
    if (is_companion(key)) companions.emplace_back(key);
  }
  for (const std::string& key : companions) app.erase(key);
}

}  // namespace

json::object parse_app_document(std::string_view text, const std::string& source) {
  Converter converter(source);
  if (text.size() > kMaxDocumentBytes) converter.fail("over " + std::to_string(kMaxDocumentBytes) + " bytes");
  json::object app;
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));  // JSON is YAML
    if (documents.size() != 1)
      converter.fail("one app definition is expected, not " + std::to_string(documents.size()));
    const YAML::Node& root = documents.front();
    if (!root.IsMap()) converter.fail("an app definition is a map of fields");
    for (const auto& entry : root) {
      const std::string& key = entry.first.Scalar();
      if (app.contains(key)) converter.fail("the key '" + key + "' stands there twice");
      app[key] =
          key == "env" || key == "sec_env" ? converter.texts(entry.second, key) : converter.convert(entry.second, 1);
    }
  } catch (const YAML::Exception& error) {
    converter.fail("line " + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
  if (const auto unknown = unknown_keys(app); !unknown.empty()) {
    std::string names;
    for (const std::string& key : unknown) names += (names.empty() ? "" : ", ") + key;
    converter.fail("unknown key: " + names);
  }
  // Of a listing they are what the daemon told; in a text of one's own they would change nothing.
  for (const char* given : {"owner", "register_time"}) {
    if (app.contains(given) && !is_listing(app))
      converter.fail("the key '" + std::string(given) + "' is the daemon's to set: " +
                     (given == std::string_view("owner") ? "an app belongs to whoever registers it" : "leave it out"));
    app.erase(given);
  }
  drop_runtime(app);
  return app;
}

}  // namespace appmesh::cli

#include "store/config_file.h"

#include <utility>

#include <sys/stat.h>

#include <appmesh/wire/json_text.h>
#include <boost/json/array.hpp>
#include <fcntl.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include "platform/file.h"
#include "store/config_keys.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

constexpr int kMaxDepth = 8;
constexpr int kMaxNodes = 20'000;

// Follows the document with a budget: aliases share nodes, so a small file may describe an enormous tree.
class Converter {
 public:
  Result<json::object> convert(const YAML::Node& root) {
    auto value = convert(root, "", 0);
    if (!value) return std::unexpected(value.error());
    if (value->is_null()) return json::object{};
    if (!value->is_object()) return fail(ErrorKind::invalid_argument, "the document must be a map of keys");
    return std::move(value->get_object());
  }

 private:
  Result<json::value> convert(const YAML::Node& node, const std::string& name, int depth) {
    if (depth > kMaxDepth) return refuse(node, name, "is nested too deeply");
    if (++nodes_ > kMaxNodes) return refuse(node, name, "the document has too many values");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return json::value(nullptr);
      case YAML::NodeType::Scalar:
        return scalar(node, name);
      case YAML::NodeType::Sequence: {
        json::array list;
        for (const auto& entry : node) {
          auto value = convert(entry, name + "[]", depth + 1);
          if (!value) return value;
          list.push_back(std::move(*value));
        }
        return json::value(std::move(list));
      }
      case YAML::NodeType::Map: {
        json::object map;
        for (const auto& entry : node) {
          if (!entry.first.IsScalar()) return refuse(entry.first, name, "keys must be plain texts");
          const auto& key = entry.first.Scalar();
          auto value = convert(entry.second, name.empty() ? key : name + "." + key, depth + 1);
          if (!value) return value;
          if (map.contains(key)) return refuse(entry.first, key, "is given twice");
          map.emplace(key, std::move(*value));
        }
        return json::value(std::move(map));
      }
    }
    return json::value(nullptr);
  }

  static Result<json::value> scalar(const YAML::Node& node, const std::string& name) {
    const auto* key = find_config_key(name);
    const bool is_quoted = node.Tag() == "!";
    if (key == nullptr || key->kind == KeyKind::text || key->kind == KeyKind::choice || is_quoted) {
      return json::value(node.Scalar());
    }
    // A list key with a plain text is a wrong type, not a list: check_value says so.
    if (key->kind == KeyKind::list) return json::value(node.Scalar());
    auto value = parse_value(*key, node.Scalar());
    if (!value) return refuse(node, "", value.error().message);
    return value;
  }

  static std::unexpected<Error> refuse(const YAML::Node& node, const std::string& name, const std::string& reason) {
    const auto mark = node.Mark();
    const auto line = mark.is_null() ? std::string() : "line " + std::to_string(mark.line + 1) + ": ";
    return fail(ErrorKind::invalid_argument, line + (name.empty() ? "" : name + ": ") + reason);
  }

  int nodes_ = 0;
};

void emit(YAML::Emitter& out, const json::value& value) {
  if (const auto* map = value.if_object()) {
    out << YAML::BeginMap;
    for (const auto& [key, entry] : *map) {
      out << YAML::Key << std::string(key) << YAML::Value;
      emit(out, entry);
    }
    out << YAML::EndMap;
  } else if (const auto* list = value.if_array()) {
    out << YAML::BeginSeq;
    for (const auto& entry : *list) emit(out, entry);
    out << YAML::EndSeq;
  } else if (const auto* text = value.if_string()) {
    out << YAML::DoubleQuoted << std::string(text->data(), text->size());
  } else {
    out << wire::write_json(value);
  }
}

}  // namespace

Result<json::object> parse_config_yaml(const std::string& text, const std::string& file_name) {
  if (text.size() > kMaxConfigBytes) {
    return fail(ErrorKind::invalid_argument, file_name + ": larger than " + std::to_string(kMaxConfigBytes) + " bytes");
  }
  try {
    auto document = Converter{}.convert(YAML::Load(text));
    if (!document) return fail(document.error().kind, file_name + ": " + document.error().message);
    return document;
  } catch (const YAML::Exception& e) {
    return fail(ErrorKind::invalid_argument, file_name + ": " + e.what());
  }
}

Result<json::object> read_config_file(const std::filesystem::path& file) {
  auto text = platform::read_file(file, kMaxConfigBytes);
  if (!text) return std::unexpected(text.error());
  if (text->find_first_not_of(" \t\r\n") == std::string::npos)
    return fail(ErrorKind::invalid_argument, file.string() + ": is empty: remove it to start with the defaults");
  return parse_config_yaml(*text, file.string());
}

std::string line_of_refusal(const std::filesystem::path& file, std::string_view message) {
  constexpr std::string_view kStart = "configuration key ";
  if (!message.starts_with(kStart)) return {};
  std::string_view key = message.substr(kStart.size());
  key = key.substr(0, key.find(':'));
  const auto text = platform::read_file(file, kMaxConfigBytes);
  if (!text) return {};
  int line = 0;
  try {
    YAML::Node node = YAML::Load(*text);
    while (!key.empty() && node.IsMap()) {
      const std::string part(key.substr(0, key.find('.')));
      YAML::Node next;
      for (const auto& entry : node) {
        if (!entry.first.IsScalar() || entry.first.Scalar() != part) continue;
        line = entry.first.Mark().line + 1;
        next.reset(entry.second);
      }
      key = key.size() > part.size() ? key.substr(part.size() + 1) : std::string_view{};
      node.reset(next);
    }
  } catch (const YAML::Exception&) {
    return {};
  }
  return line == 0 ? std::string{} : "line " + std::to_string(line) + ": ";
}

Result<void> write_config_file(const std::filesystem::path& file, const json::object& document) {
  YAML::Emitter out;
  emit(out, json::value(document));
  const std::string text = std::string(out.c_str(), out.size()) + "\n";
  if (text.size() > kMaxConfigBytes) return fail(ErrorKind::invalid_argument, "the configuration would be too large");
  constexpr mode_t kPrivate = 0600;
  return platform::write_file_atomic(file, text, kPrivate);
}

}  // namespace appmesh::store

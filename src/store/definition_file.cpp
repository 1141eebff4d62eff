#include "store/definition_file.h"

#include <algorithm>
#include <array>

#include "core/text.h"
#include "store/yaml.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

// Fields that are texts whatever they look like. metadata is the user's own and follows YAML, but for the spelling of
// its numbers, which is kept.
constexpr auto kTextFields =
    std::to_array<std::string_view>({"name", "owner", "command", "description", "working_dir", "docker_image",
                                     "health_check_cmd", "start_interval_seconds", "retention"});

bool wants_string(YamlPath path) {
  if (path.size() == 1) return std::ranges::find(kTextFields, path[0]) != kTextFields.end();
  if (path.size() != 2) return false;
  return path[0] == "env" || path[0] == "sec_env" || path[0] == "depends_on" ||
         (path[0] == "readiness" && path[1] == "pattern");
}

bool wants_json_text(YamlPath path) {
  return path.size() == 1 && path[0] == "metadata";
}

std::string owner_of(const json::object& definition) {
  const json::value* owner = definition.if_contains("owner");
  return owner != nullptr && owner->is_string() ? std::string{owner->get_string()} : std::string{};
}

// "behavior.exit" stands at its own line, or at that of "behavior".
std::string at_line(const KeyLines& lines, std::string_view field) {
  while (!field.empty()) {
    if (const auto found = lines.find(field); found != lines.end())
      return "line " + std::to_string(found->second) + ": ";
    const auto dot = field.rfind('.');
    field = dot == std::string_view::npos ? std::string_view{} : field.substr(0, dot);
  }
  return {};
}

// Errors of core name the field in quotes.
std::unexpected<Error> at_line(const KeyLines& lines, Error error) {
  const std::string_view message = error.message;
  const auto open = message.find('\'');
  const auto close = open == std::string_view::npos ? open : message.find('\'', open + 1);
  if (close != std::string_view::npos)
    error.message = at_line(lines, message.substr(open + 1, close - open - 1)) + error.message;
  return std::unexpected(std::move(error));
}

json::object* secrets_of(json::object& definition) {
  json::value* secrets = definition.if_contains("sec_env");
  return secrets == nullptr ? nullptr : secrets->if_object();
}

}  // namespace

void seal_secrets(json::object& definition, const SecretBox& secrets) {
  json::object* values = secrets_of(definition);
  if (values == nullptr) return;
  const std::string owner = owner_of(definition);
  for (auto& [key, value] : *values) {
    if (!value.is_string()) continue;
    std::string sealed{kSealedPrefix};
    sealed += secrets.seal(value.get_string(), owner);
    value = json::string(sealed);
  }
}

Result<void> unseal_secrets(json::object& definition, const SecretBox& secrets) {
  json::object* values = secrets_of(definition);
  if (values == nullptr) return {};
  const std::string owner = owner_of(definition);
  for (auto& [key, value] : *values) {
    if (!value.is_string()) continue;  // parse_definition() names it
    const std::string_view text = value.get_string();
    if (!text.starts_with(kSealedPrefix)) continue;
    auto plain = secrets.unseal(text.substr(kSealedPrefix.size()), owner);
    if (!plain) {
      return fail(ErrorKind::invalid_argument, "sec_env." + core::printable(key) + ": " + plain.error().message);
    }
    value = json::string(*plain);
  }
  return {};
}

Result<std::string> to_file_text(const core::AppDefinition& definition, const SecretBox& secrets) {
  json::object object = core::write_definition(definition, core::SecretFields::include);
  seal_secrets(object, secrets);
  // An object or an array stands in a text: taken apart it would not come back byte for byte. A lone number or flag
  // stands as it was sent, which no text does.
  const core::Metadata& metadata = definition.metadata;
  const bool alone =
      metadata.kind() == core::Metadata::Kind::json && metadata.text().find_first_of("{[") == std::string_view::npos;
  if (metadata.kind() != core::Metadata::Kind::none && !alone) object["metadata"] = metadata.text();
  std::string text = write_yaml(object);
  if (alone) text.append("metadata: ").append(metadata.text()).append("\n");
  if (text.size() > kMaxYamlBytes) {
    return fail(ErrorKind::too_large, "the definition of " + definition.name + " needs " + std::to_string(text.size()) +
                                          " bytes on disk, the limit is " + std::to_string(kMaxYamlBytes));
  }
  return text;
}

Result<core::AppDefinition> from_file_text(std::string_view text, const std::string& name, const SecretBox& secrets) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return fail(ErrorKind::invalid_argument, "the file is empty");
  KeyLines lines;
  auto object = parse_yaml(text, wants_string, wants_json_text, &lines);
  if (!object) return std::unexpected(object.error());
  if (!object->contains("name")) (*object)["name"] = name;
  if (auto done = unseal_secrets(*object, secrets); !done)
    return fail(done.error().kind, at_line(lines, "sec_env") + done.error().message);
  std::string metadata;
  if (const auto* json = object->if_contains("metadata"); json != nullptr && json->is_string())
    metadata.append("{\"metadata\":").append(json->get_string()).append("}");
  auto parsed = core::parse_definition(*object, metadata);
  if (!parsed) return at_line(lines, parsed.error());
  // A published client puts `user` back with the rest of what it got; a person who writes it wants something else.
  if (object->contains("user")) parsed->unknown_fields.push_back({"user", "owner"});
  if (auto known = core::refuse_unknown(parsed->unknown_fields); !known)
    return fail(known.error().kind, at_line(lines, parsed->unknown_fields.front().name) + known.error().message);
  if (parsed->definition.name != name) {
    return fail(ErrorKind::invalid_argument, at_line(lines, "name") + "name: \"" +
                                                 core::printable(parsed->definition.name) +
                                                 "\" must equal the file's name, " + name);
  }
  if (parsed->definition.status == core::AppStatus::not_available)
    return fail(ErrorKind::invalid_argument, at_line(lines, "status") + "status: 2 is for on-demand runs, use 0 or 1");
  if (auto done = core::require_program(parsed->definition); !done) return std::unexpected(done.error());
  return std::move(parsed->definition);
}

}  // namespace appmesh::store

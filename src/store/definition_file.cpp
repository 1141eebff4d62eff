#include "store/definition_file.h"

#include <algorithm>
#include <array>

#include "core/text.h"
#include "store/yaml.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

// Fields that are texts whatever they look like. metadata is the user's own and follows YAML.
constexpr auto kTextFields =
    std::to_array<std::string_view>({"name", "owner", "command", "description", "working_dir", "docker_image",
                                     "health_check_cmd", "start_interval_seconds", "retention"});

bool wants_string(YamlPath path) {
  if (path.size() == 1) return std::ranges::find(kTextFields, path[0]) != kTextFields.end();
  if (path.size() != 2) return false;
  return path[0] == "env" || path[0] == "sec_env" || path[0] == "depends_on" ||
         (path[0] == "readiness" && path[1] == "pattern");
}

std::string owner_of(const json::object& definition) {
  const json::value* owner = definition.if_contains("owner");
  return owner != nullptr && owner->is_string() ? std::string{owner->get_string()} : std::string{};
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
  std::string text = write_yaml(object);
  if (text.size() > kMaxYamlBytes) {
    return fail(ErrorKind::too_large, "the definition of " + definition.name + " needs " + std::to_string(text.size()) +
                                          " bytes on disk, the limit is " + std::to_string(kMaxYamlBytes));
  }
  return text;
}

Result<core::AppDefinition> from_file_text(std::string_view text, const std::string& name, const SecretBox& secrets) {
  auto object = parse_yaml(text, wants_string);
  if (!object) return std::unexpected(object.error());
  if (!object->contains("name")) (*object)["name"] = name;
  if (auto done = unseal_secrets(*object, secrets); !done) return std::unexpected(done.error());
  auto parsed = core::parse_definition(*object);
  if (!parsed) return std::unexpected(parsed.error());
  if (!parsed->unknown_fields.empty()) {
    std::string names;
    for (const auto& field : parsed->unknown_fields) names += (names.empty() ? "" : ", ") + core::printable(field);
    return fail(ErrorKind::invalid_argument, "unknown field: " + names);
  }
  if (parsed->definition.name != name) {
    return fail(ErrorKind::invalid_argument,
                "name: \"" + core::printable(parsed->definition.name) + "\" must equal the file's name, " + name);
  }
  if (auto done = core::require_program(parsed->definition); !done) return std::unexpected(done.error());
  return std::move(parsed->definition);
}

}  // namespace appmesh::store

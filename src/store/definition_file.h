// One app definition as the text of its YAML file, secrets sealed, and back. Pure functions of their arguments (sealing
// draws a nonce); any thread.
#pragma once

#include <string>
#include <string_view>

#include "core/app_definition.h"
#include "core/error.h"
#include "store/secret_box.h"

namespace appmesh::store {

// A sealed value of sec_env; anything else there is the plain text of a hand-written file and is sealed at the next
// save.
inline constexpr std::string_view kSealedPrefix = "sealed:v1:";

// Error too_large: more than a file may hold.
[[nodiscard]] Result<std::string> to_file_text(const core::AppDefinition& definition, const SecretBox& secrets);

// `name` is the file's name without ".yaml" and must equal the definition's (which may leave it out). Errors:
// invalid_argument that names line or field; unknown fields are refused.
[[nodiscard]] Result<core::AppDefinition> from_file_text(std::string_view text, const std::string& name,
                                                         const SecretBox& secrets);

// sec_env inside a definition's JSON, in place: for those who keep such JSON elsewhere (on-demand apps in SQLite).
void seal_secrets(boost::json::object& definition, const SecretBox& secrets);
[[nodiscard]] Result<void> unseal_secrets(boost::json::object& definition, const SecretBox& secrets);

}  // namespace appmesh::store

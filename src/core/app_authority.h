// What an app may do and on whose account: the part of its definition that only who has the owner's rights may change.
// Pure functions, any thread.
#pragma once

#include "core/app_definition.h"

namespace appmesh::core {

// Whether one definition starts another program than the other, or the same one otherwise, as its process or as its
// health check.
[[nodiscard]] bool runs_otherwise(const AppDefinition& from, const AppDefinition& to);

// Owner, secrets and what runs are the same.
[[nodiscard]] bool same_authority(const AppDefinition& a, const AppDefinition& b);

}  // namespace appmesh::core

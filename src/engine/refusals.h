// Refusals that several requests of the engine share. Not for other rooms.
#pragma once

#include <string_view>

#include <fmt/format.h>

#include "core/error.h"

namespace appmesh::engine {

inline Error no_such_app(std::string_view name) {
  return {ErrorKind::not_found, fmt::format("No such application <{}> found", name), {}};
}

inline Error replaced(std::string_view name) {
  return {ErrorKind::conflict, fmt::format("Application <{}> was replaced by another request, try again", name), {}};
}

}  // namespace appmesh::engine

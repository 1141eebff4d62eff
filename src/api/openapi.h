// The published description of the REST interface, written from the route table itself, so that it cannot promise a
// route that does not exist. Pure function; any thread.
#pragma once

#include <string>
#include <string_view>

#include "api/router.h"

namespace appmesh::api {

// OpenAPI 3.0 as YAML. Paths are in alphabetical order, so the text changes only when a route does.
[[nodiscard]] std::string generate_openapi(const RouteTable& routes, std::string_view version);

// GET /openapi.yaml, / and /index.html. Call it last: the document describes what the table holds then.
void add_document_routes(RouteTable& routes, std::string_view version);

}  // namespace appmesh::api

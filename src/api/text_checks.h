// What every request has to keep to, whatever its route: it is text where it is read as text, and holds nothing that
// would be dropped. Pure functions, any thread.
#pragma once

#include <initializer_list>
#include <string_view>

#include <boost/json/object.hpp>

#include "api/request.h"
#include "core/error.h"

namespace appmesh::api {

// Nothing that a user wrote is dropped without a word: invalid_argument that names every member that is neither `known`
// nor `shown`, what an answer of ours shows and nobody can set, so that it may be sent back.
[[nodiscard]] Result<void> refuse_unknown_fields(const boost::json::object& body,
                                                 std::initializer_list<std::string_view> known,
                                                 std::initializer_list<std::string_view> shown = {});

// invalid_argument that names the first of the query parameters and headers with bytes that are not UTF-8: of the
// headers only those that are read as text, "X-..." and Authorization.
[[nodiscard]] Result<void> check_text(const Request& request);

}  // namespace appmesh::api

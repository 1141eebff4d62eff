// What the parts of Client share: paths and the reading of answers. Internal to the library; pure functions.
#pragma once

#include <string>
#include <string_view>

#include <appmesh/transport.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace appmesh::detail {

// /appmesh/app/{name}[/{action}]
std::string app_path(std::string_view name, std::string_view action = {});
std::string user_path(std::string_view name, std::string_view action = {});

boost::json::object parse_object(const Response& response);
boost::json::array parse_array(const Response& response);

// Throws ClientError(kStatus) with the server's own message.
[[noreturn]] void fail(const Response& response);

}  // namespace appmesh::detail

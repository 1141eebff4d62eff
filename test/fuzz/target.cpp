// Path and query of a request, and the way through the route table.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "api/router.h"

using namespace appmesh::api;

namespace {

RouteTable make_table() {
  RouteTable table;
  for (const char* pattern : {"/", "/appmesh/applications", "/appmesh/app/{name}", "/appmesh/app/{name}/output",
                              "/appmesh/app/run", "/appmesh/user/{user}/totp/{step}"}) {
    table.add({.method = Method::get,
               .pattern = pattern,
               .requirement = Requirement::free(),
               .handler = [](Context&) -> boost::asio::awaitable<Response> { co_return Response(); },
               .summary = "fuzz"});
  }
  return table;
}

void check(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const RouteTable table = make_table();
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool plus_is_space : {true, false}) {
    const auto target = parse_target(bytes, plus_is_space);
    if (!target) continue;
    check(target->query.size() <= kMaxQueryParameters && target->path.find("//") == std::string::npos);
    const auto match = table.find(Method::get, target->path);
    if (!match) continue;
    for (const auto& variable : match->variables) {
      check(variable.name.empty() || !variable.value.empty());
      for (const char c : variable.value) check(c != '/' && c != '*' && static_cast<unsigned char>(c) >= ' ');
    }
  }
  return 0;
}

#include "api/cross_site.h"

#include <algorithm>

namespace appmesh::api {
namespace {

bool equal_no_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_allowed(const CrossSitePolicy& policy, std::string_view origin) {
  return std::ranges::any_of(policy.allowed_origins,
                             [&](const std::string& allowed) { return equal_no_case(allowed, origin); });
}

// Browsers leave the default port out of both, other clients may write it into one of them.
std::string_view without_default_port(std::string_view host) {
  return host.ends_with(":443") ? host.substr(0, host.size() - 4) : host;
}

bool is_own_origin(std::string_view origin, std::string_view host) {
  const std::size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos || host.empty()) return false;
  return equal_no_case(without_default_port(origin.substr(scheme + 3)), without_default_port(host));
}

}  // namespace

bool passes_csrf_rule(const CrossSitePolicy& policy, const Request& request) {
  if (request.transport != TransportKind::https) return true;
  if (!request.header("cookie")) return true;
  const std::string_view origin = request.header("origin").value_or("");
  if (origin.empty()) return true;
  return is_allowed(policy, origin) || is_own_origin(origin, request.header("host").value_or(""));
}

void add_cors_headers(const CrossSitePolicy& policy, const Request& request, Response& response) {
  if (policy.cors_disabled) return;
  const std::string_view origin = request.header("origin").value_or("");
  if (origin.empty()) return;
  response.add_header("Vary", "Origin");  // also when refused, or a cache would keep the refusal for everybody
  if (!is_allowed(policy, origin)) return;
  response.add_header("Access-Control-Allow-Origin", std::string(origin))
      .add_header("Access-Control-Allow-Credentials", "true")
      .add_header("Access-Control-Expose-Headers",
                  "X-Exit-Code, X-Output-Position, X-File-Mode, X-File-User, X-File-Group, "
                  "X-File-User-Name, X-File-Group-Name");
  if (request.method != Method::options) return;
  response.add_header("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS")
      .add_header("Access-Control-Max-Age", "86400");
  // With credentials a "*" would mean a header of that name, so the asked ones are granted by name.
  if (const auto asked = request.header("access-control-request-headers")) {
    response.add_header("Access-Control-Allow-Headers", std::string(*asked));
  }
}

}  // namespace appmesh::api

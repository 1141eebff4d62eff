// The published document and the route table say the same. `APPMESH_WRITE=1 api_test` writes the document anew.
#include "api/openapi.h"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "api/routes.h"
#include "core/version.h"
#include "security/permissions.h"

namespace appmesh::api {
namespace {

// Routes keep references for their handlers, and describing them calls no handler, so nothing real is needed.
template <typename T>
T& never_used() {
  alignas(T) static std::array<std::byte, sizeof(T)> storage;
  return *reinterpret_cast<T*>(storage.data());
}

RouteTable daemon_routes() {
  auto& users = never_used<security::UserDirectory>();
  auto& workers = never_used<PasswordWorkers>();
  auto& configuration = never_used<store::Configuration>();
  return make_route_table({.auth = {users, never_used<security::Tokens>(), workers, never_used<security::Totp>(),
                                    never_used<LongRequests>()},
                           .apps = {never_used<engine::Engine>(),
                                    users,
                                    configuration,
                                    never_used<store::StateStore>(),
                                    never_used<ProcessSampler>(),
                                    {},
                                    never_used<EventSinks>(),
                                    never_used<security::AuditTrail>(),
                                    {}},
                           .users = {users, workers},
                           .config = {configuration, never_used<security::AuditTrail>(), {}, {}},
                           .files = {never_used<FileStore>(), never_used<FileWorkers>(), never_used<FileTokens>(), {}},
                           .shell = {never_used<engine::Engine>(), never_used<security::AuditTrail>(), {}},
                           .audit = {never_used<store::StateStore>(), {}}},
                          kVersion);
}

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(OpenApi, TheCheckedInDocumentIsWhatTheRouteTableSays) {
  const std::string path = APPMESH_SOURCE_DIR "/docs/openapi.yaml";
  const std::string generated = generate_openapi(daemon_routes(), kVersion);
  if (std::getenv("APPMESH_WRITE")) std::ofstream(path) << generated;
  EXPECT_EQ(read(path), generated) << "run `APPMESH_WRITE=1 api_test --gtest_filter=OpenApi.*` and look at the change";
}

TEST(OpenApi, IsYamlWithEveryRouteAndWhatItNeeds) {
  const RouteTable routes = daemon_routes();
  const YAML::Node document = YAML::Load(generate_openapi(routes, kVersion));
  EXPECT_EQ(document["info"]["version"].as<std::string>(), kVersion);
  for (const auto& route : routes.routes()) {
    std::string method(to_string(route->method));
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    const YAML::Node operation = document["paths"][route->pattern][method];
    ASSERT_TRUE(operation) << method << " " << route->pattern;
    EXPECT_EQ(operation["summary"].as<std::string>(), route->summary);
    EXPECT_GT(operation["responses"].size(), 0U);
    if (route->requirement.kind() == Requirement::Kind::permission) {
      EXPECT_EQ(operation["x-permission"].as<std::string>(), route->requirement.id());
    }
  }
}

TEST(OpenApi, NamesOnlyPermissionsThatARoleCanHave) {
  const RouteTable routes = daemon_routes();
  for (const auto& route : routes.routes()) {
    if (route->requirement.kind() == Requirement::Kind::permission) {
      EXPECT_TRUE(security::is_known_permission(route->requirement.id()))
          << route->pattern << " " << route->requirement.id();
    }
  }
}

}  // namespace
}  // namespace appmesh::api

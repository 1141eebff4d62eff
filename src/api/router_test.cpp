#include "api/router.h"

#include <stdexcept>

#include <gtest/gtest.h>

namespace appmesh::api {
namespace {

Route route(Method method, std::string pattern) {
  return {.method = method,
          .pattern = std::move(pattern),
          .requirement = Requirement::free(),
          .handler = [](Context&) -> boost::asio::awaitable<Response> { co_return text_response("x"); },
          .summary = "x"};
}

class Routing : public testing::Test {
 protected:
  Routing() {
    table_.add(route(Method::get, "/"));
    table_.add(route(Method::get, "/appmesh/applications"));
    table_.add(route(Method::get, "/appmesh/app/{name}"));
    table_.add(route(Method::put, "/appmesh/app/{name}"));
    table_.add(route(Method::get, "/appmesh/app/{name}/output"));
    table_.add(route(Method::post, "/appmesh/app/run"));
    table_.add(route(Method::get, "/appmesh/user/self"));
    table_.add(route(Method::put, "/appmesh/user/{user}"));
    table_.add(route(Method::post, "/appmesh/totp/{user}/disable"));
    table_.add(route(Method::get, "/two/{a}/{b}"));
  }

  std::string found(Method method, std::string_view path) {
    const auto match = table_.find(method, path);
    if (!match) return match.error().message;
    std::string text = match->route->pattern;
    for (const PathVariable& variable : match->variables) {
      if (!variable.name.empty()) text += " " + std::string(variable.name) + "=" + variable.value;
    }
    return text;
  }

  RouteTable table_;
};

TEST_F(Routing, FindsThePatternAndItsVariables) {
  EXPECT_EQ(found(Method::get, "/"), "/");
  EXPECT_EQ(found(Method::get, "/appmesh/applications"), "/appmesh/applications");
  EXPECT_EQ(found(Method::get, "/appmesh/app/ping"), "/appmesh/app/{name} name=ping");
  EXPECT_EQ(found(Method::get, "/appmesh/app/ping/output"), "/appmesh/app/{name}/output name=ping");
  EXPECT_EQ(found(Method::get, "/two/1/2"), "/two/{a}/{b} a=1 b=2");
  EXPECT_EQ(found(Method::get, "/appmesh/applications/"), "/appmesh/applications");
}

TEST_F(Routing, PrefersAFixedSegmentButGoesBackToAVariableForAnotherMethod) {
  EXPECT_EQ(found(Method::post, "/appmesh/app/run"), "/appmesh/app/run");
  EXPECT_EQ(found(Method::get, "/appmesh/app/run"), "/appmesh/app/{name} name=run");
  EXPECT_EQ(found(Method::get, "/appmesh/app/run/output"), "/appmesh/app/{name}/output name=run");
  EXPECT_EQ(found(Method::put, "/appmesh/user/self"), "/appmesh/user/{user} user=self");
}

TEST_F(Routing, DecodesVariablesOnce) {
  EXPECT_EQ(found(Method::get, "/appmesh/app/a%20b%2541"), "/appmesh/app/{name} name=a b%41");
  EXPECT_EQ(found(Method::get, "/appmesh/app/%E4%B8%AD"), "/appmesh/app/{name} name=\xE4\xB8\xAD");
}

TEST_F(Routing, DoesNotFindWhatIsNotInTheTable) {
  EXPECT_EQ(found(Method::get, "/nope"), "Path not found GET:/nope");
  EXPECT_EQ(found(Method::del, "/appmesh/app/x"), "Path not found DELETE:/appmesh/app/x");
  EXPECT_EQ(found(Method::get, "/appmesh/app"), "Path not found GET:/appmesh/app");
  EXPECT_EQ(found(Method::get, "/appmesh/app/x/output/y"), "Path not found GET:/appmesh/app/x/output/y");
  EXPECT_EQ(found(Method::get, "/appmesh/app/a%2Fb"), "Path not found GET:/appmesh/app/a%2Fb");
  EXPECT_EQ(found(Method::get, "/appmesh/app/*"), "Path not found GET:/appmesh/app/*");
  EXPECT_EQ(found(Method::get, "/appmesh/app/%2a"), "Path not found GET:/appmesh/app/%2a");
  EXPECT_EQ(found(Method::get, "/appmesh/app/a%00"), "Path not found GET:/appmesh/app/a%00");
  EXPECT_EQ(found(Method::get, "*"), "Path not found GET:*");
}

TEST_F(Routing, RefusesMalformedPercentEncoding) {
  const auto match = table_.find(Method::get, "/appmesh/app/%zz");
  ASSERT_FALSE(match);
  EXPECT_EQ(match.error().kind, ErrorKind::invalid_argument);
}

TEST_F(Routing, EchoesOnlyTheBeginningOfALongPath) {
  EXPECT_LT(found(Method::get, "/" + std::string(60'000, 'x')).size(), 300U);
}

TEST_F(Routing, RefusesABadPatternAtStart) {
  EXPECT_THROW(table_.add(route(Method::get, "relative")), std::invalid_argument);
  EXPECT_THROW(table_.add(route(Method::get, "/a//b")), std::invalid_argument);
  EXPECT_THROW(table_.add(route(Method::get, "/a/")), std::invalid_argument);
  EXPECT_THROW(table_.add(route(Method::head, "/a")), std::invalid_argument);
  EXPECT_THROW(table_.add(route(Method::get, "/{a}/{b}/{c}/{d}/{e}")), std::invalid_argument);
  EXPECT_THROW(table_.add(route(Method::get, "/appmesh/app/{other}")), std::invalid_argument);
}

}  // namespace
}  // namespace appmesh::api

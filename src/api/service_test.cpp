#include "api/service.h"

#include <algorithm>
#include <stdexcept>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <gtest/gtest.h>

#include "api/openapi.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;

class OneUser : public Authenticator {
 public:
  Result<Caller> authenticate(std::string_view token) override {
    if (token != "good") return fail(ErrorKind::unauthenticated, "bad token");
    auto principal = std::make_shared<security::Principal>();
    principal->user = "ann";
    principal->permissions = {"app-view"};
    return Caller{.principal = std::move(principal), .claims = nullptr};
  }
};

Handler answer(std::string text) {
  return [text = std::move(text)](Context& context) -> asio::awaitable<Response> {
    co_return text_response(text + (context.principal ? " for " + context.principal->user : ""));
  };
}

RouteTable routes() {
  RouteTable table;
  const auto add = [&](Method method, std::string pattern, Requirement requirement, Handler handler) {
    table.add({.method = method,
               .pattern = std::move(pattern),
               .requirement = std::move(requirement),
               .handler = std::move(handler),
               .summary = "x"});
  };
  add(Method::get, "/free", Requirement::free(), answer("free"));
  add(Method::post, "/free", Requirement::free(), answer("posted"));
  add(Method::get, "/token", Requirement::token(), answer("token"));
  add(Method::get, "/view/{name}", Requirement::permission("app-view"), answer("view"));
  add(Method::get, "/edit", Requirement::permission("app-reg"), answer("edit"));
  add(Method::get, "/throws", Requirement::free(), [](Context&) -> asio::awaitable<Response> {
    throw std::runtime_error("secret detail");
    co_return Response{};
  });
  add(Method::get, "/internal", Requirement::free(), [](Context&) -> asio::awaitable<Response> {
    co_return error_response({ErrorKind::internal, "secret detail", "cause"});
  });
  const auto add_direct = [&](std::string pattern, DirectHandler handler) {
    table.add({.method = Method::get,
               .pattern = std::move(pattern),
               .requirement = Requirement::permission("app-view"),
               .direct = std::move(handler),
               .summary = "x"});
  };
  add_direct("/direct/{name}", [](const std::shared_ptr<Call>& call) {
    call->reply(text_response(call->context.variable("name") + " for " + call->context.principal->user));
    call->reply(text_response("another answer"));
  });
  add_direct("/later", [](const std::shared_ptr<Call>& call) {
    call->expire_after(std::chrono::seconds(0), [call] { call->reply(text_response("late", 408)); });
  });
  add_direct("/direct-throws", [](const std::shared_ptr<Call>&) { throw std::runtime_error("secret detail"); });
  add_direct("/direct-internal", [](const std::shared_ptr<Call>& call) {
    call->reply(error_response({ErrorKind::internal, "secret detail", "cause"}));
  });
  add_document_routes(table, "3.0.0");
  return table;
}

// What a transport gives a direct route.
class TestCall final : public Call {
 public:
  explicit TestCall(Request& request) : Call(request) {}
  std::vector<Response> answers;
  std::move_only_function<void()> expired;

  void expire_after(std::chrono::seconds, std::move_only_function<void()> call) override { expired = std::move(call); }

 private:
  void deliver(Response response) override { answers.push_back(std::move(response)); }
};

class CountingObserver : public RequestObserver {
 public:
  int begun = 0;
  std::vector<std::string> ended_routes;
  std::vector<int> statuses;
  void began() override { ++begun; }
  void ended(const Route* route, int status, std::chrono::nanoseconds) override {
    ended_routes.push_back(route == nullptr ? "" : route->pattern);
    statuses.push_back(status);
  }
};

class ServiceTest : public testing::Test {
 protected:
  ServiceTest()
      : service_(routes(), users_, {.cors_disabled = false, .allowed_origins = {"https://console.example"}}) {}

  Response call(Method method, std::string path, std::vector<NameValue> headers = {}) {
    Request request;
    request.method = method;
    request.path = std::move(path);
    request.headers = std::move(headers);
    request.id = "1f";
    asio::io_context context;
    auto future = asio::co_spawn(context, service_.handle(std::move(request)), asio::use_future);
    context.run();
    return future.get();
  }

  static std::string header(const Response& response, std::string_view name) {
    const auto it = std::ranges::find(response.headers, name, &NameValue::first);
    return it == response.headers.end() ? "" : it->second;
  }

  OneUser users_;
  Service service_;
};

TEST_F(ServiceTest, ServesAFreeRouteToAnybodyWithoutLookingAtTheToken) {
  EXPECT_EQ(call(Method::get, "/free").body, "free");
  EXPECT_EQ(call(Method::get, "/free", {{"Authorization", "Bearer bad"}}).body, "free");
}

TEST_F(ServiceTest, AsksForATokenWhereARouteNeedsOne) {
  const Response response = call(Method::get, "/token");
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.body, R"({"message":"No authentication token provided"})");
  EXPECT_EQ(call(Method::get, "/token", {{"Authorization", "Bearer bad"}}).status, 401);
  EXPECT_EQ(call(Method::get, "/token", {{"Authorization", "Bearer good"}}).body, "token for ann");
  EXPECT_EQ(call(Method::get, "/token", {{"Cookie", "appmesh_auth_token=good"}}).body, "token for ann");
}

TEST_F(ServiceTest, NamesTheMissingPermission) {
  EXPECT_EQ(call(Method::get, "/view/x", {{"Authorization", "Bearer good"}}).status, 200);
  const Response response = call(Method::get, "/edit", {{"Authorization", "Bearer good"}});
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.body, R"({"message":"Permission denied: user 'ann' lacks required permission 'app-reg'"})");
}

TEST_F(ServiceTest, ADirectRouteIsLikeAnyOtherForOneWhoWaitsWithACoroutine) {
  const std::vector<NameValue> ann{{"Authorization", "Bearer good"}};
  EXPECT_EQ(call(Method::get, "/direct/x").status, 401);
  EXPECT_EQ(call(Method::get, "/direct/x", ann).body, "x for ann");
  EXPECT_EQ(call(Method::get, "/later", ann).status, 408);
  for (const char* path : {"/direct-throws", "/direct-internal"}) {
    EXPECT_EQ(call(Method::get, path, ann).body, R"({"message":"Internal error, request id 1f"})");
  }
}

TEST_F(ServiceTest, StartAnswersADirectRouteOnceAndLeavesTheOthersAlone) {
  CountingObserver observer;
  service_.set_observer(observer);
  const auto start = [&](const char* path, std::vector<NameValue> headers) {
    Request request{.method = Method::get, .path = path, .headers = std::move(headers), .id = "1f"};
    const auto call = std::make_shared<TestCall>(request);
    EXPECT_TRUE(service_.start(call)) << path;
    if (call->expired) std::exchange(call->expired, nullptr)();
    EXPECT_EQ(call->answers.size(), 1U) << path;
    return call->answers.empty() ? Response{} : call->answers.front();
  };
  const std::vector<NameValue> ann{{"Authorization", "Bearer good"}};
  EXPECT_EQ(start("/direct/x", {}).status, 401);
  EXPECT_EQ(start("/direct/x", ann).body, "x for ann");
  EXPECT_EQ(start("/later", ann).body, "late");
  for (const char* path : {"/direct-throws", "/direct-internal"}) {
    EXPECT_EQ(start(path, ann).body, R"({"message":"Internal error, request id 1f"})");
  }
  EXPECT_EQ(observer.begun, 5);
  EXPECT_EQ(observer.statuses, (std::vector<int>{401, 200, 408, 500, 500}));
  EXPECT_EQ(observer.ended_routes.back(), "/direct-internal");

  for (const char* path : {"/free", "/nope"}) {
    Request request{.method = Method::get, .path = path};
    const auto call = std::make_shared<TestCall>(request);
    EXPECT_FALSE(service_.start(call)) << path;
    EXPECT_TRUE(call->answers.empty());
  }
  EXPECT_EQ(observer.begun, 5);
}

TEST_F(ServiceTest, TellsAnUnknownPathBeforeAskingWhoCalls) {
  const Response response = call(Method::get, "/nope");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, R"({"message":"Path not found GET:/nope"})");
}

TEST_F(ServiceTest, AnswersTheMethodsThatHaveNoRoutes) {
  EXPECT_EQ(call(Method::head, "/whatever").status, 200);
  EXPECT_EQ(call(Method::options, "/whatever").status, 204);
  EXPECT_EQ(call(Method::other, "/free").status, 405);
}

TEST_F(ServiceTest, SaysNothingOfAnInternalErrorButTheRequestId) {
  for (const char* path : {"/throws", "/internal"}) {
    const Response response = call(Method::get, path);
    EXPECT_EQ(response.status, 500);
    EXPECT_EQ(response.body, R"({"message":"Internal error, request id 1f"})");
  }
}

TEST_F(ServiceTest, RefusesACookieThatAForeignPageSends) {
  const NameValue cookie = {"Cookie", "appmesh_auth_token=good"};
  const auto post = [&](std::vector<NameValue> headers) { return call(Method::post, "/free", std::move(headers)); };
  const Response response = post({cookie, {"Origin", "https://evil.example"}, {"Host", "node:6060"}});
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.body, R"({"message":"CSRF validation failed: origin not allowed"})");
  EXPECT_EQ(post({cookie, {"Origin", "null"}, {"Host", "node:6060"}}).status, 403);
  EXPECT_EQ(post({cookie, {"Origin", "https://node:6061"}, {"Host", "node:6060"}}).status, 403);
}

TEST_F(ServiceTest, LetsCookiesPassFromOwnAllowedAndAbsentOrigins) {
  const NameValue cookie = {"Cookie", "appmesh_auth_token=good"};
  const NameValue foreign = {"Origin", "https://evil.example"};
  const auto post = [&](std::vector<NameValue> headers) { return call(Method::post, "/free", std::move(headers)); };
  EXPECT_EQ(post({cookie, {"Origin", "https://Node:6060"}, {"Host", "node:6060"}}).status, 200);
  EXPECT_EQ(post({cookie, {"Origin", "https://node"}, {"Host", "node:443"}}).status, 200);
  EXPECT_EQ(post({cookie, {"Origin", "https://console.example"}, {"Host", "node:6060"}}).status, 200);
  EXPECT_EQ(post({cookie, {"Origin", ""}, {"Host", "node:6060"}}).status, 200);
  EXPECT_EQ(post({cookie, {"Host", "node:6060"}}).status, 200);
  EXPECT_EQ(post({foreign, {"Host", "node:6060"}}).status, 200);
  EXPECT_EQ(call(Method::get, "/free", {cookie, foreign, {"Host", "node:6060"}}).status, 200);
}

TEST_F(ServiceTest, LetsOnlyAllowedOriginsReadTheAnswer) {
  const Response allowed = call(Method::get, "/free", {{"Origin", "https://console.example"}});
  EXPECT_EQ(header(allowed, "Access-Control-Allow-Origin"), "https://console.example");
  EXPECT_EQ(header(allowed, "Access-Control-Allow-Credentials"), "true");
  EXPECT_NE(header(allowed, "Access-Control-Expose-Headers").find("X-Exit-Code"), std::string::npos);
  const Response foreign = call(Method::get, "/free", {{"Origin", "https://evil.example"}});
  EXPECT_EQ(header(foreign, "Access-Control-Allow-Origin"), "");
  EXPECT_EQ(header(foreign, "Vary"), "Origin");
  EXPECT_TRUE(call(Method::get, "/free").headers.empty());
}

TEST_F(ServiceTest, AnswersThePreflightOfAnAllowedOrigin) {
  const Response response =
      call(Method::options, "/free",
           {{"Origin", "https://console.example"}, {"Access-Control-Request-Headers", "authorization,x-totp-code"}});
  EXPECT_EQ(response.status, 204);
  EXPECT_EQ(header(response, "Access-Control-Max-Age"), "86400");
  EXPECT_EQ(header(response, "Access-Control-Allow-Headers"), "authorization,x-totp-code");
}

TEST_F(ServiceTest, SaysNothingToBrowsersWhenCorsIsOff) {
  service_.set_cross_site_policy({.cors_disabled = true, .allowed_origins = {"https://console.example"}});
  EXPECT_TRUE(call(Method::get, "/free", {{"Origin", "https://console.example"}}).headers.empty());
}

TEST_F(ServiceTest, ServesItsOwnDescriptionAndAFrontPage) {
  const Response document = call(Method::get, "/openapi.yaml");
  EXPECT_EQ(document.content_type, "application/x-yaml");
  EXPECT_EQ(document.body_view(), generate_openapi(service_.routes(), "3.0.0"));
  for (const char* expected : {"\"/openapi.yaml\":", "\"/view/{name}\":", "x-permission: \"app-view\"", "in: path"}) {
    EXPECT_NE(document.body_view().find(expected), std::string_view::npos) << expected;
  }
  EXPECT_NE(call(Method::get, "/").body_view().find("/openapi.yaml"), std::string_view::npos);
}

}  // namespace
}  // namespace appmesh::api

#include <algorithm>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>

#include "api/auth_routes.h"
#include "api/service.h"
#include "api/token_authenticator.h"
#include "api/user_routes.h"
#include "security/test_identity.h"
#include "store/base64.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using security::kTestPassword;
using store::to_base64;
using testing::HasSubstr;
using testing::Not;

// The two files of routes behind the real service, with real users, tokens and state on disk.
class IdentityRoutes : public testing::Test {
 protected:
  IdentityRoutes() { open(); }

  void open() {
    service_.reset();
    authenticator_.reset();
    home_.open();
    authenticator_ = std::make_unique<TokenAuthenticator>(home_.tokens());
    long_requests_ = std::make_unique<LongRequests>(home_.tokens(), home_.users());
    RouteTable table;
    add_auth_routes(table, {.users = home_.users(),
                            .tokens = home_.tokens(),
                            .workers = workers_,
                            .totp = home_.identity().totp(),
                            .long_requests = *long_requests_});
    add_user_routes(table, {.users = home_.users(), .workers = workers_});
    service_ = std::make_unique<Service>(std::move(table), *authenticator_, CrossSitePolicy{});
  }

  Response call(Method method, std::string path, std::vector<NameValue> headers, std::string body = {},
                TransportKind transport = TransportKind::https) {
    asio::io_context io;
    auto answer = asio::co_spawn(io,
                                 service_->handle({.method = method,
                                                   .path = std::move(path),
                                                   .headers = std::move(headers),
                                                   .body = std::move(body),
                                                   .transport = transport,
                                                   .peer = "127.0.0.1",
                                                   .id = "r1"}),
                                 asio::use_future);
    io.run();
    return answer.get();
  }

  static NameValue basic(std::string_view user, std::string_view password) {
    return {"Authorization", "Basic " + to_base64(std::string(user) + ":" + std::string(password))};
  }
  static NameValue bearer(std::string_view token) { return {"Authorization", "Bearer " + std::string(token)}; }

  Response login(std::vector<NameValue> more = {}, std::string_view user = "admin",
                 std::string_view password = kTestPassword) {
    more.push_back(basic(user, password));
    return call(Method::post, "/appmesh/login", std::move(more));
  }
  static json::object object(const Response& response) { return json::parse(response.body).as_object(); }
  static std::string text(const json::object& object, std::string_view name) {
    return std::string(object.at(name).as_string());
  }
  std::string token(std::string_view user = "admin", std::string_view password = kTestPassword) {
    return text(object(login({}, user, password)), "access_token");
  }
  static std::optional<std::string> header(const Response& response, std::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return std::nullopt;
  }
  void add_tom(std::string_view roles = R"(["view"])") {
    const auto added = call(Method::put, "/appmesh/user/tom", {bearer(token())},
                            R"({"key":"t0m Password","group":"dev","roles":)" + std::string(roles) + "}");
    ASSERT_EQ(added.status, 200) << added.body;
  }
  int status_of_self(std::string_view with) { return call(Method::get, "/appmesh/user/self", {bearer(with)}).status; }

  security::TestIdentity home_;
  PasswordWorkers workers_;
  std::unique_ptr<LongRequests> long_requests_;
  std::unique_ptr<TokenAuthenticator> authenticator_;
  std::unique_ptr<Service> service_;
};

TEST_F(IdentityRoutes, ALoginAnswersWithTheTokenObject) {
  const auto response = login();
  ASSERT_EQ(response.status, 200) << response.body;
  const auto body = object(response);
  EXPECT_EQ(text(body, "token_type"), "Bearer");
  EXPECT_EQ(body.at("expires_in").as_int64(), 604800);
  EXPECT_EQ(body.at("expire_time").as_int64() - body.at("issued_at").as_int64(), 604800);
  EXPECT_EQ(text(body.at("profile").as_object(), "name"), "admin");
  EXPECT_EQ(body.at("profile").as_object().at("auth_time"), body.at("issued_at"));
  EXPECT_FALSE(body.contains("refresh_token"));
  EXPECT_EQ(header(response, "Cache-Control"), "no-store");
  EXPECT_EQ(header(response, "Pragma"), "no-cache");
  EXPECT_EQ(header(response, "Set-Cookie"), std::nullopt);
  EXPECT_EQ(status_of_self(text(body, "access_token")), 200);
}

TEST_F(IdentityRoutes, LoginHeadersDecideExpiryAudienceRefreshTokenAndCookie) {
  const auto response = login({{"X-Expire-Seconds", "PT5M"},
                               {"x-audience", "your-service-api"},
                               {"X-Refresh-Token-Request", "true"},
                               {"X-Set-Cookie", "1"}});
  ASSERT_EQ(response.status, 200);
  const auto body = object(response);
  EXPECT_EQ(body.at("expires_in").as_int64(), 300);
  EXPECT_TRUE(body.contains("refresh_token"));
  EXPECT_EQ(header(response, "Set-Cookie"), "appmesh_auth_token=" + text(body, "access_token") +
                                                "; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=300");
  EXPECT_EQ(status_of_self(text(body, "access_token")), 401) << "issued for another audience";
  const auto tcp = call(Method::post, "/appmesh/login", {basic("admin", kTestPassword), {"X-Set-Cookie", "true"}}, {},
                        TransportKind::tcp);
  EXPECT_EQ(header(tcp, "Set-Cookie"), std::nullopt) << "cookies are for HTTP only";
}

TEST_F(IdentityRoutes, UnknownUserWrongPasswordAndLockedUserGetTheSameAnswer) {
  add_tom();
  ASSERT_EQ(call(Method::post, "/appmesh/user/tom/lock", {bearer(token())}).status, 200);
  const auto unknown = login({}, "ghost", "x");
  const auto wrong = login({}, "admin", "x");
  const auto locked = login({}, "tom", "t0m Password");
  EXPECT_EQ(unknown.status, 401);
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(locked.status, 401);
  EXPECT_EQ(unknown.body, wrong.body);
  EXPECT_EQ(unknown.body, locked.body);
}

TEST_F(IdentityRoutes, MalformedLoginsAre400) {
  const auto status = [&](std::vector<NameValue> headers) {
    return call(Method::post, "/appmesh/login", std::move(headers)).status;
  };
  EXPECT_EQ(status({}), 400);
  EXPECT_EQ(status({{"Authorization", "Bearer abc"}}), 400);
  EXPECT_EQ(status({{"Authorization", "Basic"}}), 400);
  EXPECT_EQ(status({{"Authorization", "Basic !!!"}}), 400);
  EXPECT_EQ(status({{"Authorization", "Basic " + to_base64("no colon")}}), 400);
  EXPECT_EQ(status({{"Authorization", "Basic " + to_base64("u:" + std::string(5000, 'x'))}}), 400);
  EXPECT_EQ(login({{"X-Expire-Seconds", "soon"}}).status, 400);
  EXPECT_EQ(login({{"X-Expire-Seconds", "-5"}}).status, 400);
  EXPECT_EQ(login({{"X-Audience", "not-configured"}}).status, 400);
  for (const char* internal : {"appmesh-file-service", "appmesh-refresh"}) {
    const auto refused = login({{"X-Audience", internal}});
    EXPECT_EQ(refused.status, 400);
    EXPECT_THAT(refused.body, HasSubstr("illegal audience"));
  }
}

TEST_F(IdentityRoutes, APasswordWithColonsAndASchemeInAnyCaseLogIn) {
  ASSERT_EQ(call(Method::put, "/appmesh/user/tom", {bearer(token())}, R"({"key":"a:b:c"})").status, 200);
  EXPECT_EQ(login({}, "tom", "a:b:c").status, 200);
  EXPECT_EQ(call(Method::post, "/appmesh/login", {{"authorization", "bASIC " + to_base64("tom:a:b:c")}}).status, 200);
}

TEST_F(IdentityRoutes, AUserOfAPublishedInstallationLogsInAndHisHashIsRewritten) {
  home_.write_security_yaml(
      "Users: {admin: {key: x, roles: [view]}, mesh: {key: '$pbkdf2$4096$73616c74$"
      "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a', roles: [view]}}\nRoles: {view: "
      "[app-view]}\n");
  open();
  EXPECT_EQ(login({}, "mesh", "wrong").status, 401);
  EXPECT_THAT(home_.read_security_yaml(), HasSubstr("$pbkdf2$"));
  const std::string first = token("mesh", "password");
  EXPECT_THAT(home_.read_security_yaml(), Not(HasSubstr("$pbkdf2$")));
  EXPECT_EQ(login({}, "mesh", "password").status, 200);
  EXPECT_EQ(status_of_self(first), 200) << "a rewritten hash voids no token";
}

TEST_F(IdentityRoutes, ATwoFactorUserIsNotLetInWithOneFactor) {
  home_.write_security_yaml(
      "Users: {admin: {key: x}, mesh: {key: plain-7, mfa_enabled: true, mfa_key: JBSWY3DPEHPK3PXP}}\n");
  open();
  const auto refused = login({}, "mesh", "plain-7");
  EXPECT_NE(refused.status, 200);
  EXPECT_THAT(refused.body, Not(HasSubstr("access_token")));
}

TEST_F(IdentityRoutes, AuthChecksTokenAudienceAndPermission) {
  add_tom();
  const std::string tom = token("tom", "t0m Password");
  const auto auth = [&](std::vector<NameValue> headers) {
    headers.push_back(bearer(tom));
    return call(Method::post, "/appmesh/auth", std::move(headers));
  };
  const auto good = auth({});
  ASSERT_EQ(good.status, 200);
  EXPECT_EQ(text(object(good), "access_token"), tom);
  EXPECT_EQ(text(object(good).at("profile").as_object(), "group"), "");
  EXPECT_EQ(auth({{"X-Permission", "app-view"}}).status, 200);
  const auto denied = auth({{"X-Permission", "app-reg"}});
  EXPECT_EQ(denied.status, 403);
  EXPECT_THAT(denied.body, HasSubstr("Permission denied: user 'tom' lacks required permission 'app-reg'"));
  EXPECT_EQ(auth({{"X-Audience", "your-service-api"}}).status, 401);
  EXPECT_THAT(header(auth({{"X-Set-Cookie", "true"}}), "Set-Cookie").value_or(""),
              HasSubstr("appmesh_auth_token=" + tom));
  EXPECT_EQ(call(Method::post, "/appmesh/auth", {}).status, 401);
  EXPECT_EQ(call(Method::post, "/appmesh/auth", {bearer("a.b.c")}).status, 401);
}

TEST_F(IdentityRoutes, RenewingABearerTokenVoidsItAndKeepsItsAudience) {
  const auto first = object(login({{"X-Audience", "your-service-api"}}));
  const std::string old = text(first, "access_token");
  const auto renewed = call(Method::post, "/appmesh/token/renew", {bearer(old), {"X-Expire-Seconds", "100"}});
  ASSERT_EQ(renewed.status, 200) << renewed.body;
  EXPECT_EQ(object(renewed).at("expires_in").as_int64(), 100);
  EXPECT_FALSE(object(renewed).contains("refresh_token"));
  const std::string next = text(object(renewed), "access_token");
  EXPECT_NE(next, old);
  const auto auth = [&](const std::string& with) {
    return call(Method::post, "/appmesh/auth", {bearer(with), {"X-Audience", "your-service-api"}}).status;
  };
  EXPECT_EQ(auth(next), 200);
  EXPECT_EQ(auth(old), 401);
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {bearer(old)}).status, 401);
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {bearer(next), {"X-Expire-Seconds", "x"}}).status, 400);
  EXPECT_EQ(auth(next), 200) << "a refused renewal voids nothing";
}

TEST_F(IdentityRoutes, ARefreshTokenIsGoodOnce) {
  const auto first = object(login({{"X-Refresh-Token-Request", "true"}}));
  const std::string access = text(first, "access_token");
  const std::string refresh = text(first, "refresh_token");
  EXPECT_EQ(status_of_self(refresh), 401) << "a refresh token opens nothing";
  EXPECT_EQ(call(Method::post, "/appmesh/auth", {bearer(refresh), {"X-Audience", "appmesh-refresh"}}).status, 401);
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {bearer(refresh)}).status, 401);
  const auto renewed = call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}});
  ASSERT_EQ(renewed.status, 200) << renewed.body;
  EXPECT_TRUE(object(renewed).contains("refresh_token"));
  EXPECT_EQ(status_of_self(text(object(renewed), "access_token")), 200);
  EXPECT_EQ(status_of_self(access), 200) << "the old access token stays good";
  const auto again = call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}});
  EXPECT_EQ(again.status, 401);
  EXPECT_THAT(again.body, HasSubstr("Refresh token has been revoked"));
  open();
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}}).status, 401)
      << "also after a restart";
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", access}}).status, 401)
      << "an access token refreshes nothing";
}

TEST_F(IdentityRoutes, OfManyRenewalsAtOnceWithOneRefreshTokenOneSucceeds) {
  const std::string refresh = text(object(login({{"X-Refresh-Token-Request", "true"}})), "refresh_token");
  std::vector<int> statuses(8);
  {
    std::vector<std::jthread> callers;
    for (int& status : statuses) {
      callers.emplace_back(
          [&] { status = call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}}).status; });
    }
  }
  EXPECT_EQ(std::ranges::count(statuses, 200), 1);
  EXPECT_EQ(std::ranges::count(statuses, 401), 7);
}

TEST_F(IdentityRoutes, ARefreshCopiesOnlyAnAudienceThatALoginCouldHaveAskedFor) {
  const auto renew_beside = [&](std::string_view payload) {
    std::string body = to_base64(payload);
    while (body.ends_with('=')) body.pop_back();
    const auto refresh = text(object(login({{"X-Refresh-Token-Request", "true"}})), "refresh_token");
    const auto renewed =
        call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}, bearer("e30." + body + ".e30")});
    return security::unverified_audience(text(object(renewed), "access_token")).value_or("?");
  };
  EXPECT_EQ(renew_beside(R"({"aud":"your-service-api","x":1})"), "your-service-api");
  EXPECT_EQ(renew_beside(R"({"aud":"appmesh-file-service"})"), "appmesh-service");
  EXPECT_EQ(renew_beside(R"({"aud":"somebody-else"})"), "appmesh-service");
}

TEST_F(IdentityRoutes, RenewalNeedsItsPermission) {
  add_tom(R"(["shell"])");
  const auto session = object(login({{"X-Refresh-Token-Request", "true"}}, "tom", "t0m Password"));
  const std::string access = text(session, "access_token");
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {bearer(access)}).status, 403);
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", text(session, "refresh_token")}}).status,
            403);
  EXPECT_EQ(status_of_self(access), 200);
}

TEST_F(IdentityRoutes, LogoffVoidsEachPresentedTokenDurablyAndClearsTheCookie) {
  const auto session = object(login({{"X-Refresh-Token-Request", "true"}}));
  const std::string access = text(session, "access_token");
  const std::string refresh = text(session, "refresh_token");
  const auto response = call(Method::post, "/appmesh/self/logoff",
                             {{"Cookie", "a=b; appmesh_auth_token=" + access}, {"X-Refresh-Token", refresh}});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");
  EXPECT_THAT(header(response, "Set-Cookie").value_or(""), HasSubstr("appmesh_auth_token=; Path=/"));
  EXPECT_THAT(header(response, "Set-Cookie").value_or(""), HasSubstr("Max-Age=0"));
  EXPECT_EQ(status_of_self(access), 401);
  EXPECT_EQ(call(Method::post, "/appmesh/token/renew", {{"X-Refresh-Token", refresh}}).status, 401);
  EXPECT_EQ(call(Method::post, "/appmesh/self/logoff", {bearer(access)}).status, 401);
  EXPECT_EQ(call(Method::post, "/appmesh/self/logoff", {}).status, 401);
  open();
  EXPECT_EQ(status_of_self(access), 401);
}

TEST_F(IdentityRoutes, ARenewalThatCameWithTheCookieSetsItAgain) {
  const std::string access = token();
  const auto renewed = call(Method::post, "/appmesh/token/renew", {{"Cookie", "appmesh_auth_token=" + access}});
  ASSERT_EQ(renewed.status, 200);
  EXPECT_THAT(header(renewed, "Set-Cookie").value_or(""),
              HasSubstr("appmesh_auth_token=" + text(object(renewed), "access_token")));
}

TEST_F(IdentityRoutes, UserObjectsShowNoSecrets) {
  add_tom();
  const auto self = object(call(Method::get, "/appmesh/user/self", {bearer(token("tom", "t0m Password"))}));
  EXPECT_EQ(text(self, "name"), "tom");
  EXPECT_EQ(text(self, "group"), "dev");
  EXPECT_EQ(text(self, "exec_user"), "");
  EXPECT_EQ(text(self, "audience"), "appmesh-service");
  EXPECT_EQ(json::serialize(self.at("roles")), R"(["view"])");
  const auto users = call(Method::get, "/appmesh/users", {bearer(token())});
  EXPECT_EQ(object(users).size(), 2U);
  for (const char* secret : {"argon2", "key", "t0m"}) {
    EXPECT_THAT(users.body, Not(HasSubstr(secret)));
    EXPECT_THAT(json::serialize(self), Not(HasSubstr(secret)));
  }
}

TEST_F(IdentityRoutes, ListsOfRolesPermissionsAndGroups) {
  add_tom();
  const auto get = [&](std::string path, const std::string& with) {
    return json::parse(call(Method::get, std::move(path), {bearer(with)}).body);
  };
  const std::string admin = token();
  const std::string tom = token("tom", "t0m Password");
  EXPECT_EQ(get("/appmesh/roles", admin).as_object().size(), 4U);
  EXPECT_EQ(get("/appmesh/permissions", admin).as_array().size(), 35U);
  EXPECT_EQ(get("/appmesh/user/permissions", admin).as_array().size(), 35U);
  EXPECT_EQ(get("/appmesh/user/permissions", tom).as_array().size(), 12U);
  EXPECT_EQ(json::serialize(get("/appmesh/user/groups", tom)), R"(["dev"])");
}

TEST_F(IdentityRoutes, RolesAreSetAndDeletedAndCountAtOnce) {
  add_tom();
  const std::string admin = token();
  const std::string tom = token("tom", "t0m Password");
  const auto post = [&](std::string body) {
    return call(Method::post, "/appmesh/role/view", {bearer(admin)}, std::move(body));
  };
  EXPECT_EQ(call(Method::get, "/appmesh/users", {bearer(tom)}).status, 200);
  const auto set = post(R"(["app-view"])");
  EXPECT_EQ(set.status, 200);
  EXPECT_EQ(set.body, "Role update success");
  EXPECT_EQ(call(Method::get, "/appmesh/users", {bearer(tom)}).status, 403);
  for (const char* bad : {R"({"a":1})", R"(["ok", 1])", R"(["not ok!"])", "[", ""})
    EXPECT_EQ(post(bad).status, 400) << bad;
  EXPECT_EQ(post("[]").status, 200);
  EXPECT_EQ(call(Method::del, "/appmesh/role/view", {bearer(admin)}).body, "Role delete success");
}

TEST_F(IdentityRoutes, EveryUserRouteAsksForItsPermission) {
  add_tom(R"([])");
  const std::string tom = token("tom", "t0m Password");
  const std::vector<std::tuple<Method, std::string, std::string>> routes = {
      {Method::post, "/appmesh/user/admin/passwd", "passwd-change-user"},
      {Method::post, "/appmesh/user/self/passwd", "passwd-change-self"},
      {Method::post, "/appmesh/user/tom/passwd", "passwd-change-self"},
      {Method::post, "/appmesh/user/tom/lock", "user-lock"},
      {Method::post, "/appmesh/user/tom/unlock", "user-unlock"},
      {Method::put, "/appmesh/user/x", "user-add"},
      {Method::del, "/appmesh/user/tom", "user-delete"},
      {Method::get, "/appmesh/users", "user-list"},
      {Method::get, "/appmesh/roles", "role-view"},
      {Method::post, "/appmesh/role/x", "role-set"},
      {Method::del, "/appmesh/role/x", "role-delete"},
      {Method::get, "/appmesh/permissions", "permission-list"}};
  for (const auto& [method, path, permission] : routes) {
    const auto denied = call(method, path, {bearer(tom)}, "{}");
    EXPECT_EQ(denied.status, 403) << path;
    EXPECT_THAT(denied.body, HasSubstr("Permission denied: user 'tom' lacks required permission '" + permission + "'"));
    EXPECT_EQ(call(method, path, {}, "{}").status, 401) << path;
  }
}

TEST_F(IdentityRoutes, BadUserBodiesAre400AndNameTheField) {
  const std::string admin = token();
  const std::vector<std::pair<const char*, const char*>> bad = {{R"({"key":5})", "key"},
                                                                {R"({"group":"x"})", "key"},
                                                                {R"({"key":"a","roles":"view"})", "roles"},
                                                                {R"({"key":"a","roles":[1]})", "roles"},
                                                                {R"({"key":"a","locked":"yes"})", "locked"},
                                                                {R"({"key":"a","mfa_enabled":true})", "mfa_enabled"},
                                                                {R"({"key":"a","email":{}})", "email"},
                                                                {R"([])", "object"},
                                                                {"", "Empty json input"},
                                                                {"null", "Empty json input"},
                                                                {R"({"key":)", "position"}};
  for (const auto& [body, named] : bad) {
    const auto refused = call(Method::put, "/appmesh/user/tom", {bearer(admin)}, body);
    EXPECT_EQ(refused.status, 400) << body;
    EXPECT_THAT(refused.body, HasSubstr(named)) << body;
  }
  EXPECT_EQ(call(Method::put, "/appmesh/user/a%3Ab", {bearer(admin)}, R"({"key":"a"})").status, 400);
  EXPECT_EQ(call(Method::del, "/appmesh/user/tom", {bearer(admin)}).status, 404);
  EXPECT_EQ(call(Method::post, "/appmesh/user/tom/lock", {bearer(admin)}).status, 404);
  EXPECT_EQ(call(Method::post, "/appmesh/user/admin/lock", {bearer(admin)}).status, 400);
}

TEST_F(IdentityRoutes, LockAndUnlockCountForTokensAndLogins) {
  add_tom();
  const std::string tom = token("tom", "t0m Password");
  const std::string admin = token();
  ASSERT_EQ(call(Method::post, "/appmesh/user/tom/lock", {bearer(admin)}).status, 200);
  EXPECT_EQ(status_of_self(tom), 401);
  EXPECT_EQ(login({}, "tom", "t0m Password").status, 401);
  ASSERT_EQ(call(Method::post, "/appmesh/user/tom/unlock", {bearer(admin)}).status, 200);
  EXPECT_EQ(status_of_self(tom), 200);
  EXPECT_EQ(login({}, "tom", "t0m Password").status, 200);
  ASSERT_EQ(call(Method::del, "/appmesh/user/tom", {bearer(admin)}).status, 200);
  EXPECT_EQ(status_of_self(tom), 404);
}

TEST_F(IdentityRoutes, APasswordChangeVoidsTheUsersTokens) {
  add_tom();
  const std::string tom = token("tom", "t0m Password");
  const auto change = [&](std::string name, const std::string& with, std::string_view before, std::string_view after) {
    return call(Method::post, "/appmesh/user/" + std::move(name) + "/passwd", {bearer(with)},
                json::serialize(json::object{{"old_password", to_base64(before)}, {"new_password", to_base64(after)}}));
  };
  EXPECT_EQ(change("self", tom, "wrong", "n3w").status, 400);
  EXPECT_EQ(change("admin", tom, kTestPassword, "n3w").status, 403);
  const auto changed = change("self", tom, "t0m Password", "n3w: Password");
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(changed.body, "password changed success");
  EXPECT_EQ(status_of_self(tom), 401);
  EXPECT_EQ(login({}, "tom", "t0m Password").status, 401);
  EXPECT_EQ(status_of_self(token("tom", "n3w: Password")), 200);
  const std::string admin = token();
  EXPECT_EQ(change("tom", admin, "wrong", "by admin").status, 400) << "the old password is asked for all the same";
  EXPECT_EQ(change("tom", admin, "n3w: Password", "by admin").status, 200);
  EXPECT_EQ(change("ghost", admin, "x", "y").status, 404);
  EXPECT_EQ(call(Method::post, "/appmesh/user/self/passwd", {bearer(admin)}, R"({"old_password":"!"})").status, 400);
  EXPECT_EQ(call(Method::post, "/appmesh/user/self/passwd", {bearer(admin)}, "{}").status, 400);
}

TEST(PasswordWorkersTest, RefusesWorkBeyondTheLimitAndTakesMoreWhenItIsDone) {
  PasswordWorkers workers;
  asio::io_context io;
  std::mutex gate;
  std::unique_lock closed(gate);
  std::vector<std::future<Result<int>>> answers;
  const auto ask = [&] {
    answers.push_back(asio::co_spawn(io, workers.run([&gate]() -> Result<int> {
      const std::lock_guard wait(gate);
      return 1;
    }),
                                     asio::use_future));
  };
  for (int i = 0; i < PasswordWorkers::kMaxWaiting + 5; ++i) ask();
  io.poll();
  closed.unlock();
  io.run();
  int refused = 0;
  for (auto& answer : answers) {
    const auto result = answer.get();
    if (!result) {
      EXPECT_EQ(result.error().kind, ErrorKind::unavailable);
      ++refused;
    }
  }
  EXPECT_EQ(refused, 5);
  answers.clear();
  ask();
  io.restart();
  io.run();
  EXPECT_TRUE(answers[0].get());
}

}  // namespace
}  // namespace appmesh::api

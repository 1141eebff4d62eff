#include "api/request.h"

#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace appmesh::api {
namespace {

Request with_headers(std::vector<NameValue> headers, TransportKind transport = TransportKind::https) {
  Request request;
  request.headers = std::move(headers);
  request.transport = transport;
  return request;
}

Request with_body(std::string body) {
  Request request;
  request.body = std::move(body);
  return request;
}

std::string json_error(std::string body) {
  const auto value = parse_json_body(with_body(std::move(body)));
  return value ? "no error" : value.error().message;
}

TEST(Target, SplitsPathAndQueryAndDecodesOnlyTheQuery) {
  const auto target = parse_target("/appmesh/app/a%20b?timeout=PT5M&x=a%26b&empty=&bare&plus=1+1%2B2");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->path, "/appmesh/app/a%20b");
  const std::vector<NameValue> expected = {
      {"timeout", "PT5M"}, {"x", "a&b"}, {"empty", ""}, {"bare", ""}, {"plus", "1 1+2"}};
  EXPECT_EQ(target->query, expected);
}

TEST(Target, CollapsesRepeatedSlashes) {
  EXPECT_EQ(parse_target("//appmesh///app//x/")->path, "/appmesh/app/x/");
  EXPECT_EQ(parse_target("/")->path, "/");
  EXPECT_EQ(parse_target("////")->path, "/");
}

TEST(Target, TakesTheWholeUriThatAProxyStyleClientSends) {
  EXPECT_EQ(parse_target("https://h:6060/a/b?c=d")->path, "/a/b");
  EXPECT_EQ(parse_target("https://h:6060")->path, "/");
}

TEST(Target, RefusesWhatIsNoTargetWithTheReason) {
  for (const std::string_view bad : {"", "a", "a/b", "/a\x01", "/a b", "/a?x=%", "/a?x=%4", "/a?x=%zz", "/a?%zz=1"}) {
    const auto target = parse_target(bad);
    ASSERT_FALSE(target) << bad;
    EXPECT_EQ(target.error().kind, ErrorKind::invalid_argument);
    EXPECT_FALSE(target.error().message.empty());
  }
  std::string many = "/a?";
  for (std::size_t i = 0; i <= kMaxQueryParameters; ++i) many += "x=1&";
  EXPECT_FALSE(parse_target(many));
}

TEST(PercentDecoding, DecodesEveryByteAndRefusesWhatIsCutOff) {
  EXPECT_EQ(*percent_decode("%41%6a%2F%00"), std::string("Aj/\0", 4));
  EXPECT_EQ(*percent_decode("ab%41"), "abA");
  EXPECT_FALSE(percent_decode("%4"));
  EXPECT_FALSE(percent_decode("%"));
}

TEST(Token, IsReadFromEveryPlaceThatClientsPutItIn) {
  EXPECT_EQ(with_headers({{"authorization", "Bearer abc"}}).token(), "abc");
  EXPECT_EQ(with_headers({{"Authorization", "bearer  abc "}}).token(), "abc");
  EXPECT_EQ(with_headers({{"Authorization", "a.b.c"}}, TransportKind::tcp).token(), "a.b.c");
  EXPECT_EQ(with_headers({{"Cookie", "x=1; appmesh_auth_token=abc; y=2"}}).token(), "abc");
}

TEST(Token, IsNotTakenFromOtherSchemesEmptyValuesOrForeignCookies) {
  EXPECT_FALSE(with_headers({{"Authorization", "Basic YTpi"}}).token());
  EXPECT_FALSE(with_headers({{"Authorization", "Bearer "}}).token());
  EXPECT_FALSE(with_headers({{"Authorization", ""}}).token());
  EXPECT_FALSE(with_headers({{"Cookie", "xappmesh_auth_token=abc"}}).token());
  EXPECT_FALSE(with_headers({{"Cookie", "appmesh_auth_token="}}).token());
  EXPECT_FALSE(with_headers({{"Cookie", "appmesh_auth_token=abc"}}, TransportKind::tcp).token());
  EXPECT_FALSE(with_headers({}).token());
}

TEST(Token, OfTheHeaderWinsOverTheCookie) {
  EXPECT_EQ(with_headers({{"Cookie", "appmesh_auth_token=c"}, {"Authorization", "Bearer h"}}).token(), "h");
  EXPECT_FALSE(with_headers({{"Cookie", "appmesh_auth_token=c"}, {"Authorization", "Basic eDp5"}}).token());
}

TEST(JsonBody, IsParsed) {
  EXPECT_EQ(boost::json::serialize(*parse_json_body(with_body(" {\"a\":[1,2]} \n"))), "{\"a\":[1,2]}");
  EXPECT_TRUE(parse_json_object(with_body("{}")));
  EXPECT_EQ(parse_json_object(with_body("[]")).error().message, "JSON object expected");
}

TEST(JsonBody, ThatIsEmptyOrNullIsNamedSo) {
  for (const char* text : {"", "  ", "null", " null "}) EXPECT_EQ(json_error(text), "Empty json input") << text;
}

TEST(JsonBody, ErrorsNameThePosition) {
  EXPECT_TRUE(json_error("{\"a\":x}").starts_with("Malformed JSON at position 5: ")) << json_error("{\"a\":x}");
  EXPECT_TRUE(json_error("{\"a\":1").starts_with("Malformed JSON at position 6: ")) << json_error("{\"a\":1");
  EXPECT_TRUE(json_error("{} x").starts_with("Malformed JSON at position 3: ")) << json_error("{} x");
  EXPECT_TRUE(json_error("\"\xff\"").starts_with("Malformed JSON at position 1: ")) << json_error("\"\xff\"");
}

TEST(JsonBody, DeeperThanTheLimitIsRefused) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(json_error(nested(kMaxJsonDepth)), "no error");
  EXPECT_TRUE(json_error(nested(kMaxJsonDepth + 1)).starts_with("Malformed JSON at position 32: "));
  EXPECT_TRUE(json_error(std::string(1'000'000, '[')).starts_with("Malformed JSON at position 32: "));
}

TEST(JsonBody, LongerThanTheLimitIsRefusedUnread) {
  const auto value = parse_json_body(with_body(std::string(kMaxJsonBytes + 1, 'x')));
  EXPECT_EQ(value.error().kind, ErrorKind::too_large);
}

TEST(ErrorResponse, CarriesTheStatusOfItsKindAndTheMessageAsJson) {
  const Response response = error_response({ErrorKind::not_found, "No such application \"x\"", "cause"});
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body_view(), R"({"message":"No such application \"x\""})");
}

}  // namespace
}  // namespace appmesh::api

#include <appmesh/app.h>
#include <appmesh/client.h>
#include <appmesh/duration.h>
#include <appmesh/url.h>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

namespace appmesh {
namespace {

TEST(Url, KnowsItsShapes) {
  EXPECT_EQ(Url::parse("https://host").authority(), "host:6060");
  EXPECT_EQ(Url::parse("host:77").text(), "https://host:77");
  EXPECT_EQ(Url::parse("https://[::1]:6060/"), (Url{"::1", 6060}));
  EXPECT_EQ(Url::parse("fe80::1").authority(), "[fe80::1]:6060");
  EXPECT_EQ(Url::parse("other", 7070).port, 7070);
}

TEST(Url, RefusesWhatItCannotReachAndSaysWhy) {
  for (const char* text : {"", "http://host", "https://", "host:0", "host:65536", "host:x",
                           "host:", "https://host/path", "ho st", "user@host", "[::1", "[::1]6060"}) {
    EXPECT_THROW(Url::parse(text), ClientError) << text;
  }
}

TEST(Encoding, EscapesEveryByteThatAPathMayNotHold) {
  EXPECT_EQ(percent_encode("a-b_c.d~9"), "a-b_c.d~9");
  EXPECT_EQ(percent_encode("a/b c\xc3\xa9?"), "a%2Fb%20c%C3%A9%3F");
}

TEST(Encoding, Base64KnowsEveryPadding) {
  EXPECT_EQ(base64_encode(""), "");
  EXPECT_EQ(base64_encode("f"), "Zg==");
  EXPECT_EQ(base64_encode("fo"), "Zm8=");
  EXPECT_EQ(base64_encode("foo"), "Zm9v");
  EXPECT_EQ(base64_encode("foob"), "Zm9vYg==");
}

TEST(Duration, ReadsSecondsAndIso8601) {
  using std::chrono::seconds;
  EXPECT_EQ(parse_duration("90"), seconds{90});
  EXPECT_EQ(parse_duration("PT5M"), seconds{300});
  EXPECT_EQ(parse_duration("P1W"), seconds{604'800});
  EXPECT_EQ(parse_duration("P2DT12H"), seconds{216'000});
  EXPECT_EQ(parse_duration("P1Y"), seconds{365 * 86'400});
  for (const char* text : {"", "P", "PT", "-5", "P1M", "PT1.5S", "PT5M5M", "PT1S1H", "5s", "P99999999999W", "P1D2"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Token, TellsWhoseItIsAndUntilWhen) {
  // {"sub":"admin","aud":"appmesh-service","iat":10,"exp":20}
  const auto info = read_token("e30.eyJzdWIiOiJhZG1pbiIsImF1ZCI6ImFwcG1lc2gtc2VydmljZSIsImlhdCI6MTAsImV4cCI6MjB9.c2ln");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->user, "admin");
  EXPECT_EQ(info->expires_at, 20);
  EXPECT_FALSE(read_token("not a token"));
  EXPECT_FALSE(read_token("a.b!.c"));
}

TEST(App, KeepsFieldsThatItDoesNotKnow) {
  App app("web", "sleep 1");
  app.set_env("A", "1").set_exit_behavior("keepalive").set_control_behavior(41, "restart").set("new_field", 5);
  EXPECT_EQ(boost::json::serialize(app.json()),
            R"({"name":"web","command":"sleep 1","env":{"A":"1"},"behavior":{"exit":"keepalive",)"
            R"("control":{"41":"restart"}},"new_field":5})");
  EXPECT_EQ(app.number("new_field"), 5);
  EXPECT_FALSE(app.text("new_field"));
}

TEST(Client, RefusesNamesThatWouldReachAnotherRoute) {
  Client client;
  EXPECT_THROW(client.enable_app(""), ClientError);
  EXPECT_THROW(client.get_app(".."), ClientError);
}

}  // namespace
}  // namespace appmesh

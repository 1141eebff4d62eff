#include "security/tokens.h"

#include <array>
#include <atomic>
#include <future>
#include <thread>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "security/test_identity.h"
#include "store/base64.h"

namespace appmesh::security {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::HasSubstr;

std::string base64url(std::string_view bytes) {
  return store::to_base64(bytes, store::Base64::url);
}

std::string from_base64url(std::string_view text) {
  return store::from_base64(text, store::Base64::url).value();
}

std::string sign(std::string_view header, std::string_view payload, std::string_view key,
                 const EVP_MD* digest = EVP_sha256()) {
  const std::string text = base64url(header) + "." + base64url(payload);
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned length = 0;
  HMAC(digest, key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), mac.data(), &length);
  return text + "." + base64url({reinterpret_cast<const char*>(mac.data()), length});
}

constexpr std::string_view kHs256 = R"({"alg":"HS256","typ":"JWT"})";

class TokensTest : public testing::Test {
 protected:
  TokensTest() {
    home_.open();
    EXPECT_TRUE(home_.users().put_user(
        kDaemon, "tom", {.password = "s3cret Pass", .roles = std::vector<std::string>{"view"}}, now_ - hours(2)));
  }

  std::string issue(std::string_view user = "tom", std::string_view audience = kServiceAudience,
                    seconds life = hours(1)) {
    return home_.tokens().issue(user, audience, life, now_).value().text;
  }
  Result<VerifiedToken> verify(std::string_view token, std::string_view audience = kServiceAudience) {
    return home_.tokens().verify(token, audience, now_);
  }
  Result<bool> revoke(const Claims& claims) {
    std::promise<Result<void>> stored;
    auto revoked =
        home_.tokens().revoke(claims, now_, [&](Result<void> result) { stored.set_value(std::move(result)); });
    if (revoked && *revoked) {
      EXPECT_TRUE(stored.get_future().get());
    }
    return revoked;
  }
  std::string payload(std::string_view issuer = "test-host") {
    const auto now = core::epoch_seconds(now_);
    return boost::json::serialize(boost::json::object{{"iss", issuer},
                                                      {"sub", "tom"},
                                                      {"aud", kServiceAudience},
                                                      {"iat", now},
                                                      {"exp", now + 3600},
                                                      {"jti", "11112222333344445555666677778888"}});
  }

  TestIdentity home_;
  core::WallTime now_ = platform::wall_now();
};

TEST_F(TokensTest, ATokenHasExactlyTheClaimsOfTheContract) {
  const std::string token = issue();
  const auto first = token.find('.');
  const auto second = token.find('.', first + 1);
  const auto header = boost::json::parse(from_base64url(token.substr(0, first))).as_object();
  EXPECT_EQ(header.at("alg").as_string(), "HS256");
  const auto claims = boost::json::parse(from_base64url(token.substr(first + 1, second - first - 1))).as_object();
  EXPECT_EQ(claims.size(), 9U);
  EXPECT_EQ(claims.at("iss").as_string(), "test-host");
  EXPECT_EQ(claims.at("sub").as_string(), "tom");
  EXPECT_EQ(claims.at("aud").as_string(), "appmesh-service");
  EXPECT_EQ(claims.at("exp").as_int64() - claims.at("iat").as_int64(), 3600);
  EXPECT_EQ(claims.at("jti").as_string().size(), 32U);
  EXPECT_EQ(claims.at("sid").as_string().size(), 32U) << "our own";
  EXPECT_EQ(boost::json::serialize(claims.at("resource_access")), R"({"appmesh-service":{"roles":["view"]}})");
  EXPECT_NE(token, issue()) << "two tokens of the same second differ";
}

TEST_F(TokensTest, ATokenOfADeletedUserIsNotTheirNamesakesWhateverItsTime) {
  const auto later = home_.tokens().issue("tom", kServiceAudience, hours(1), now_ + seconds(30)).value().text;
  ASSERT_TRUE(verify(later));
  ASSERT_TRUE(home_.users().delete_user("tom"));
  ASSERT_TRUE(home_.users().put_user(kDaemon, "tom", {.password = "another 1"}, now_));
  const auto refused = verify(later);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::unauthenticated);
}

TEST_F(TokensTest, ATokenOfAnotherDaemonOfTheClusterIsOfWhoHasTheName) {
  auto claims = boost::json::parse(payload()).as_object();
  claims["uid"] = "0123456789abcdef.another";
  EXPECT_TRUE(verify(sign(kHs256, boost::json::serialize(claims), kTestSecret)));
}

TEST_F(TokensTest, ATokenIsGoodTwiceAndSaysWhoItIs) {
  const std::string token = issue();
  for (int i = 0; i < 2; ++i) {
    const auto verified = verify(token);
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_EQ(verified->principal->user, "tom");
    EXPECT_EQ(verified->claims->audience, kServiceAudience);
    EXPECT_TRUE(verified->principal->may("app-view"));
    EXPECT_FALSE(verified->principal->may("app-reg"));
  }
}

TEST_F(TokensTest, AHandMadeTokenWithTheRightKeyIsGoodSoThatTheForgeriesBelowFailForTheirOwnReason) {
  const auto verified = verify(sign(kHs256, payload(), kTestSecret));
  EXPECT_TRUE(verified) << verified.error().message;
}

TEST_F(TokensTest, ForgeriesAreRefused) {
  const std::string good = issue();
  const auto dot = good.rfind('.');
  std::string altered_signature = good;
  altered_signature[dot + 1] = altered_signature[dot + 1] == 'A' ? 'B' : 'A';
  const std::string unsigned_text = base64url(R"({"alg":"none"})") + "." + base64url(payload());
  const std::vector<std::pair<const char*, std::string>> forgeries = {
      {"alg none without a signature", unsigned_text + "."},
      {"alg none with a signature", unsigned_text + good.substr(dot)},
      {"alg None", base64url(R"({"alg":"None"})") + "." + base64url(payload()) + "."},
      {"no alg", sign(R"({"typ":"JWT"})", payload(), kTestSecret)},
      {"HS512 with our key", sign(R"({"alg":"HS512","typ":"JWT"})", payload(), kTestSecret, EVP_sha512())},
      {"HS384 with our key", sign(R"({"alg":"HS384","typ":"JWT"})", payload(), kTestSecret, EVP_sha384())},
      {"RS256 header, HMAC signature", sign(R"({"alg":"RS256","typ":"JWT"})", payload(), kTestSecret)},
      {"another key", sign(kHs256, payload(), "another key of enough bytes.....")},
      {"an empty key", sign(kHs256, payload(), "")},
      {"altered signature", altered_signature},
      {"altered payload", good.substr(0, good.find('.') + 1) + base64url(payload()) + good.substr(dot)},
      {"signature cut off", good.substr(0, dot + 1)},
      {"two parts", good.substr(0, dot)},
      {"four parts", good + ".x"},
      {"other issuer", sign(kHs256, payload("evil-host"), kTestSecret)},
      {"no issuer",
       sign(kHs256, R"({"sub":"tom","aud":"appmesh-service","iat":1,"exp":99999999999,"jti":"x"})", kTestSecret)},
      {"no jti",
       sign(kHs256, R"({"iss":"test-host","sub":"tom","aud":"appmesh-service","iat":99999999990,"exp":99999999999})",
            kTestSecret)},
      {"no exp", sign(kHs256, R"({"iss":"test-host","sub":"tom","aud":"appmesh-service","iat":99999999990,"jti":"x"})",
                      kTestSecret)},
      {"exp as text",
       sign(kHs256,
            R"({"iss":"test-host","sub":"tom","aud":"appmesh-service","iat":9999999999,"exp":"99999999999","jti":"x"})",
            kTestSecret)},
      {"audiences as a list",
       sign(kHs256,
            R"({"iss":"test-host","sub":"tom","aud":["appmesh-service"],"iat":9999999999,"exp":99999999999,"jti":"x"})",
            kTestSecret)},
      {"not JSON", sign(kHs256, "{", kTestSecret)},
      {"garbage", "a.b.c"},
      {"a NUL inside", good.substr(0, 10) + std::string(1, '\0') + good.substr(10)},
      {"spaces", " " + good},
      {"longer than the limit", good + std::string(kMaxTokenBytes, 'A')},
      {"nothing", ""}};
  for (const auto& [what, token] : forgeries) {
    const auto verified = verify(token);
    ASSERT_FALSE(verified) << what;
    EXPECT_EQ(verified.error().kind, ErrorKind::unauthenticated) << what;
    EXPECT_FALSE(home_.tokens().verify_any_audience(token, now_)) << what;
  }
  EXPECT_TRUE(verify(good));
}

TEST_F(TokensTest, ATokenExpiresAfterItsLeewayAlsoWhenItIsRemembered) {
  const std::string token = issue("tom", kServiceAudience, seconds(100));
  EXPECT_TRUE(home_.tokens().verify(token, kServiceAudience, now_ + seconds(158)));
  const auto late = home_.tokens().verify(token, kServiceAudience, now_ + seconds(162));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().message, HasSubstr("expired"));
  EXPECT_FALSE(home_.tokens().verify(token, kServiceAudience, now_ + seconds(163)));
}

TEST_F(TokensTest, ATokenCountsFromItsNotBeforeAndItsIssueOnWithinTheLeeway) {
  const auto token = [&](std::int64_t issued, std::string_view more) {
    return sign(kHs256,
                R"({"iss":"test-host","sub":"tom","aud":"appmesh-service","jti":"j","exp":99999999999,"iat":)" +
                    std::to_string(issued) + std::string(more) + "}",
                kTestSecret);
  };
  const std::int64_t now = core::epoch_seconds(now_);
  const auto before = [&](std::int64_t not_before) { return token(now, ",\"nbf\":" + std::to_string(not_before)); };
  EXPECT_TRUE(verify(token(now + 60, "")));
  EXPECT_TRUE(verify(before(now + 60)));
  EXPECT_TRUE(verify(before(1)));
  for (const auto& early : {token(now + 61, ""), before(now + 61), before(9'999'999'999)}) {
    ASSERT_FALSE(verify(early));
    EXPECT_EQ(verify(early).error().kind, ErrorKind::unauthenticated);
    EXPECT_THAT(verify(early).error().message, HasSubstr("not valid yet"));
  }
  // One that was refused is taken once it is time, and one that is remembered is refused when the clock went back.
  const std::string soon = before(now + 100);
  EXPECT_FALSE(verify(soon));
  now_ += seconds(40);
  EXPECT_TRUE(verify(soon));
  now_ -= seconds(40);
  EXPECT_FALSE(verify(soon));
}

TEST_F(TokensTest, AudiencesAreKeptApart) {
  EXPECT_FALSE(verify(issue("tom", "your-service-api")));
  EXPECT_TRUE(verify(issue("tom", "your-service-api"), "your-service-api"));
  EXPECT_TRUE(home_.tokens().verify_any_audience(issue("tom", "your-service-api"), now_));
  for (const auto internal : {kFileAudience, kRefreshAudience}) {
    EXPECT_FALSE(verify(issue("tom", internal)));
    EXPECT_FALSE(home_.tokens().verify_any_audience(issue("tom", internal), now_));
    EXPECT_EQ(home_.tokens().check_audience(internal).error().message, "illegal audience");
  }
  EXPECT_TRUE(home_.tokens().check_audience("your-service-api"));
  EXPECT_EQ(home_.tokens().check_audience("other").error().kind, ErrorKind::invalid_argument);
}

TEST_F(TokensTest, WhatHappensToAUserCountsAtTheNextRequest) {
  const std::string token = issue();
  ASSERT_TRUE(verify(token));
  ASSERT_TRUE(home_.users().put_user(kDaemon, "tom", {.roles = std::vector<std::string>{"view", "shell"}}, now_));
  EXPECT_TRUE(verify(token)->principal->may("app-run-sync"));
  ASSERT_TRUE(home_.users().set_role(kDaemon, "shell", {"app-run-async"}));
  EXPECT_FALSE(verify(token)->principal->may("app-run-sync"));
  ASSERT_TRUE(home_.users().set_locked("tom", true));
  EXPECT_EQ(verify(token).error().kind, ErrorKind::unauthenticated);
  ASSERT_TRUE(home_.users().set_locked("tom", false));
  EXPECT_TRUE(verify(token));
  ASSERT_TRUE(home_.users().delete_user("tom"));
  EXPECT_EQ(verify(token).error().kind, ErrorKind::not_found);
  ASSERT_TRUE(home_.users().put_user(kDaemon, "tom", {.password = "another 1"}, now_));
  EXPECT_FALSE(verify(token)) << "the token was of another tom";
}

TEST_F(TokensTest, APasswordChangeVoidsAllTokensButThoseThatFollow) {
  const std::string before = issue();
  ASSERT_TRUE(verify(before));
  ASSERT_TRUE(home_.users().change_password("tom", "s3cret Pass", "n3w Password", now_));
  EXPECT_EQ(verify(before).error().kind, ErrorKind::unauthenticated);
  const std::string between = issue();
  EXPECT_TRUE(verify(between)) << "issued in the same second";
  ASSERT_TRUE(home_.users().change_password("tom", "n3w Password", "n3wer Password", now_));
  EXPECT_FALSE(verify(between)) << "also when all of it happens in one second";
  EXPECT_TRUE(verify(issue()));
}

TEST_F(TokensTest, ARevokedTokenStaysRevokedAfterARestart) {
  const std::string revoked = issue();
  const std::string other = issue();
  ASSERT_TRUE(revoke(*verify(revoked)->claims).value());
  EXPECT_THAT(verify(revoked).error().message, HasSubstr("revoked"));
  home_.open();
  EXPECT_THAT(verify(revoked).error().message, HasSubstr("revoked"));
  EXPECT_TRUE(verify(other));
}

TEST_F(TokensTest, OfManyWhoUseUpARefreshTokenAtOnceOneWins) {
  const std::string token = issue("tom", kRefreshAudience);
  std::atomic<int> winners{0};
  std::atomic<int> answered{0};
  {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 8; ++i) {
      callers.emplace_back([&] {
        const auto verified = verify(token, kRefreshAudience);
        if (!verified) return;
        if (home_.tokens().revoke(*verified->claims, now_, [&](Result<void>) { ++answered; }).value_or(false))
          ++winners;
      });
    }
  }
  home_.state().flush();
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(answered, 1);
  EXPECT_EQ(verify(token, kRefreshAudience).error().message, "Refresh token has been revoked");
}

TEST_F(TokensTest, VerifyingWhileUsersAndRevocationsChangeNeverLetsARevokedTokenThrough) {
  const std::string token = issue();
  std::atomic<bool> stop{false};
  std::atomic<bool> revoked{false};
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < 3; ++i) {
      readers.emplace_back([&] {
        while (!stop) {
          const bool was_revoked = revoked;
          if (verify(token) && was_revoked) ++wrong;
        }
      });
    }
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(home_.users().set_role(kDaemon, "shell", {"app-view", i % 2 == 0 ? "app-reg" : "app-chown"}));
      EXPECT_TRUE(revoke(*home_.tokens().verify(issue(), kServiceAudience, now_)->claims));
    }
    EXPECT_TRUE(revoke(*verify(token)->claims));
    revoked = true;
    for (int i = 0; i < 5; ++i)
      EXPECT_TRUE(home_.users().set_role(kDaemon, "shell", {"app-view", i % 2 == 0 ? "app-run-pty" : "app-control"}));
    stop = true;
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(TokensTest, MoreTokensThanTheCacheHoldsAreAllVerified) {
  const auto revocations = Revocations::load(home_.state(), now_).value();
  const auto small = Tokens::make({.secret = kTestSecret, .issuer = "test-host", .audiences = {}, .cache_entries = 32},
                                  home_.users(), *revocations)
                         .value();
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back(issue());
  for (int round = 0; round < 2; ++round) {
    for (const auto& token : many) EXPECT_TRUE(small->verify(token, kServiceAudience, now_));
  }
}

TEST_F(TokensTest, ALifeOutsideOfItsRangeIsRefused) {
  EXPECT_EQ(parse_token_life("").value(), hours(24 * 7));
  EXPECT_EQ(parse_token_life("0").value(), hours(24 * 7));
  EXPECT_EQ(parse_token_life("120").value(), seconds(120));
  EXPECT_EQ(parse_token_life("P1W").value(), hours(24 * 7));
  EXPECT_EQ(parse_token_life("PT5M").value(), seconds(300));
  EXPECT_EQ(parse_token_life("2592000").value(), hours(24 * 30));
  for (const char* bad : {"-1", "abc", "1.5", "PT0S", " ", "P", "2592001", "P31D", "99999999999999999999"}) {
    EXPECT_EQ(parse_token_life(bad).error().kind, ErrorKind::invalid_argument) << bad;
  }
}

TEST_F(TokensTest, ARefreshTokenLivesTwiceAsLongAtLeastAnHourMoreAndThirtyDaysAtMost) {
  EXPECT_EQ(refresh_life(seconds(60)), seconds(3660));
  EXPECT_EQ(refresh_life(hours(24)), hours(48));
  EXPECT_EQ(refresh_life(hours(24 * 20)), hours(24 * 30));
}

TEST_F(TokensTest, AShortSecretIsRefused) {
  auto revocations = Revocations::load(home_.state(), now_);
  ASSERT_TRUE(revocations);
  const auto refused = Tokens::make({.secret = "short", .issuer = "x"}, home_.users(), **revocations);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("JWTSalt"));
}

TEST_F(TokensTest, TheAudienceOfAnUncheckedTokenIsReadWithoutTrust) {
  EXPECT_EQ(unverified_audience(sign(kHs256, R"({"aud":"x"})", "k")), "x");
  for (const char* bad : {"", "a.b", "a.b.c", "...", "e30.e30.e30"}) {
    EXPECT_FALSE(unverified_audience(bad)) << bad;
  }
}

}  // namespace
}  // namespace appmesh::security

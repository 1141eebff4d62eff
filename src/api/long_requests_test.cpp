#include "api/long_requests.h"

#include <gtest/gtest.h>

#include "platform/clock.h"
#include "security/test_identity.h"

namespace appmesh::api {
namespace {

using security::kServiceAudience;

class LongRequestsTest : public testing::Test {
 protected:
  LongRequestsTest() {
    home_.open();
    requests_.emplace(home_.tokens(), home_.users(), LongRequests::Limits{.of_user = 3, .of_all = 5, .reserve = 2});
    home_.tokens().observe([this](const std::string& jti) { requests_->token_voided(jti); });
    home_.users().observe([this] { requests_->users_changed(); });
    for (const char* name : {"tom", "ann"})
      EXPECT_TRUE(
          home_.users().put_user(security::kDaemon, name, user(), platform::wall_now() - std::chrono::hours(1)));
  }

  static security::UserChange user() {
    security::UserChange change;
    change.password = "s3cret Pass";
    change.roles = std::vector<std::string>{"view"};
    return change;
  }
  std::shared_ptr<const security::Claims> login(std::string_view user) {
    auto token = home_.tokens().issue(user, kServiceAudience, std::chrono::hours(1), platform::wall_now());
    EXPECT_TRUE(token);
    return std::make_shared<const security::Claims>(token->claims);
  }
  Result<std::shared_ptr<LongRight>> begin(std::shared_ptr<const security::Claims> claims,
                                           std::string permission = "app-view") {
    return requests_->begin(std::move(claims), std::move(permission), requests_->changes());
  }
  void revoke(const security::Claims& claims) {
    ASSERT_TRUE(home_.tokens().revoke(claims, platform::wall_now(), [](Result<void>) {}));
    home_.state().flush();
  }

  security::TestIdentity home_;
  std::optional<LongRequests> requests_;
};

TEST_F(LongRequestsTest, ARightIsToldOnceWhenItIsLostAndAtOnceWhenItWasLostBefore) {
  const auto claims = login("tom");
  const auto right = begin(claims).value();
  int told = 0;
  const WhenLost first(right, [&](const Error& why) {
    ++told;
    EXPECT_EQ(why.kind, ErrorKind::unauthenticated);
  });
  revoke(*claims);
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(home_.users().set_locked("tom", true));
  EXPECT_EQ(told, 1);
  const WhenLost late(right, [&](const Error&) { ++told; });
  EXPECT_EQ(told, 2);
}

TEST_F(LongRequestsTest, WhoDoesNotWantToKnowAnyMoreIsNotTold) {
  const auto right = begin(login("tom")).value();
  int told = 0;
  {
    const WhenLost gone(right, [&](const Error&) { ++told; });
  }
  ASSERT_TRUE(home_.users().set_locked("tom", true));
  EXPECT_EQ(told, 0);
  EXPECT_TRUE(right->lost());
}

TEST_F(LongRequestsTest, OthersKeepTheirs) {
  const auto claims = login("tom");
  const auto other_session = begin(login("tom")).value();
  const auto other_user = begin(login("ann")).value();
  const auto own = begin(claims).value();
  revoke(*claims);
  EXPECT_TRUE(own->lost());
  EXPECT_FALSE(other_session->lost());
  EXPECT_FALSE(other_user->lost());
}

TEST_F(LongRequestsTest, APermissionThatIsLostIsNamed) {
  const auto right = begin(login("tom"), "app-output-view").value();
  const auto unneeded = begin(login("tom"), "").value();
  ASSERT_TRUE(home_.users().set_role(security::kDaemon, "view", {"app-view"}));
  ASSERT_TRUE(right->lost());
  EXPECT_EQ(right->lost()->kind, ErrorKind::permission_denied);
  EXPECT_NE(right->lost()->message.find("app-output-view"), std::string::npos);
  EXPECT_FALSE(unneeded->lost());
}

TEST_F(LongRequestsTest, WhatChangedBetweenTheLookAndTheBeginningIsNotMissed) {
  const auto claims = login("tom");
  const std::uint64_t seen = requests_->changes();
  revoke(*claims);
  EXPECT_EQ(requests_->begin(claims, "", seen).error().kind, ErrorKind::unauthenticated);
}

TEST_F(LongRequestsTest, ARenewedTokenTakesItsRightsAlong) {
  const auto before = login("tom");
  const auto after = login("tom");
  const auto right = begin(before).value();
  requests_->renewed(before->jti, after);
  revoke(*before);
  EXPECT_FALSE(right->lost());
  revoke(*after);
  EXPECT_TRUE(right->lost());
}

TEST_F(LongRequestsTest, EachUserHasALimitAndTheAdministratorAReserve) {
  std::vector<std::shared_ptr<LongRight>> held;
  for (int i = 0; i < 3; ++i) held.push_back(begin(login("tom")).value());
  const auto refused = begin(login("tom"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
  EXPECT_NE(refused.error().message.find("tom"), std::string::npos);
  EXPECT_EQ(begin(login("ann")).error().kind, ErrorKind::unavailable) << "the rest is the administrator's";
  EXPECT_TRUE(begin(login("admin")));
  EXPECT_EQ(requests_->size(), 3U);
  held.clear();
  EXPECT_EQ(requests_->size(), 0U);
  EXPECT_TRUE(begin(login("tom")));
}

TEST_F(LongRequestsTest, AtTheEndAllAreTold) {
  const auto right = begin(login("tom")).value();
  requests_->end_all({ErrorKind::unavailable, "The daemon ends", {}});
  EXPECT_EQ(right->lost()->message, "The daemon ends");
}

}  // namespace
}  // namespace appmesh::api

#include "security/totp.h"

#include <array>
#include <set>

#include <gtest/gtest.h>
#include <liboath/oath.h>

#include "security/test_identity.h"

namespace appmesh::security {
namespace {

using namespace std::chrono_literals;

// RFC 6238, appendix B: the secret "12345678901234567890", the last six of its eight digits.
constexpr const char* kRfcSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

core::WallTime at(std::int64_t seconds) {
  return core::WallTime(std::chrono::seconds(seconds));
}

TEST(TotpStep, FindsTheCodesOfTheRfc) {
  EXPECT_EQ(totp_step(kRfcSecret, "287082", at(59)), 1);
  EXPECT_EQ(totp_step(kRfcSecret, "081804", at(1111111109)), 37037036);
  EXPECT_EQ(totp_step(kRfcSecret, "005924", at(1234567890)), 41152263);
  EXPECT_EQ(totp_step(kRfcSecret, "353130", at(20000000000)), 666666666);
}

TEST(TotpStep, AcceptsOneStepToEitherSideAndNoMore) {
  EXPECT_EQ(totp_step(kRfcSecret, "005924", at(1234567890 + 30)), 41152263);
  EXPECT_EQ(totp_step(kRfcSecret, "005924", at(1234567890 - 30)), 41152263);
  EXPECT_FALSE(totp_step(kRfcSecret, "005924", at(1234567890 + 60)));
  EXPECT_FALSE(totp_step(kRfcSecret, "005924", at(1234567890 - 60)));
}

TEST(TotpStep, AnythingButSixDigitsIsWrong) {
  for (const char* code : {"", "5924", "0005924", " 05924", "00592x", "89005924", "-05924"})
    EXPECT_FALSE(totp_step(kRfcSecret, code, at(1234567890))) << code;
  EXPECT_FALSE(totp_step("no base32!", "005924", at(1234567890)));
}

TEST(TotpSecret, IsThirtyTwoCharactersThatNobodyHadBefore) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto secret = make_totp_secret();
    EXPECT_EQ(secret.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"), std::string::npos) << secret;
    EXPECT_EQ(secret.size(), 32U);
    EXPECT_TRUE(seen.insert(secret).second);
  }
}

class TotpUse : public testing::Test {
 protected:
  TotpUse() {
    home_.open();
    EXPECT_TRUE(home_.users().set_totp_secret(kAdmin, kRfcSecret));
  }
  User admin() { return *home_.users().snapshot()->find(kAdmin); }
  Totp& totp() { return home_.identity().totp(); }
  TestIdentity home_;
};

TEST_F(TotpUse, ACodeLogsInOnceAlsoAcrossARestart) {
  const auto now = platform::wall_now();
  constexpr std::string_view kKey = "12345678901234567890";  // of kRfcSecret
  std::array<char, 7> code{};
  ASSERT_EQ(oath_totp_generate(kKey.data(), kKey.size(), core::epoch_seconds(now), 30, 0, 6, code.data()), OATH_OK);
  EXPECT_FALSE(totp().use(admin(), code.data(), now)) << "it is not on yet";
  EXPECT_TRUE(totp().check(admin(), code.data(), now)) << "a check is no use";
  EXPECT_TRUE(home_.users().enable_totp(admin(), {}, now));
  EXPECT_TRUE(totp().use(admin(), code.data(), now));
  EXPECT_FALSE(totp().use(admin(), code.data(), now + 10s));
  home_.state().flush();
  home_.open();
  EXPECT_FALSE(totp().use(admin(), code.data(), now + 15s));
}

TEST_F(TotpUse, AfterTenWrongCodesTheRightOneIsWrongTooForAWhile) {
  constexpr std::int64_t kNow = 1234567890;
  EXPECT_TRUE(home_.users().enable_totp(admin(), {}, at(kNow)));
  const auto first_failure = at(kNow) - Totp::kFailureWindow + 10s;
  for (int i = 0; i < Totp::kMaxFailures; ++i) EXPECT_FALSE(totp().use(admin(), "000000", first_failure));
  EXPECT_FALSE(totp().use(admin(), "005924", at(kNow)));
  EXPECT_TRUE(totp().use(admin(), "005924", at(kNow + 10)));
}

}  // namespace
}  // namespace appmesh::security

#include "security/passwords.h"

#include <gtest/gtest.h>

namespace appmesh::security {
namespace {

// PBKDF2-HMAC-SHA256 of "password" with the salt "salt", 4096 rounds: a published test vector.
constexpr const char* kPublished =
    "$pbkdf2$4096$73616c74$c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a";

TEST(Passwords, AHashMatchesItsPasswordAndNoOther) {
  const auto hash = hash_password("p@ss:word");
  ASSERT_TRUE(hash);
  EXPECT_TRUE(hash->starts_with("$argon2id$v=19$m=19456,t=2,p=1$")) << hash->substr(0, 31);
  EXPECT_TRUE(check_password(*hash, "p@ss:word").matches);
  EXPECT_FALSE(check_password(*hash, "p@ss:word").needs_rehash);
  EXPECT_FALSE(check_password(*hash, "p@ss:worD").matches);
  EXPECT_FALSE(check_password(*hash, "").matches);
  EXPECT_NE(*hash, hash_password("p@ss:word").value());
}

TEST(Passwords, AHashOfPublishedInstallationsMatchesAndAsksToBeRewritten) {
  EXPECT_TRUE(is_password_hash(kPublished));
  const auto check = check_password(kPublished, "password");
  EXPECT_TRUE(check.matches);
  EXPECT_TRUE(check.needs_rehash);
  EXPECT_FALSE(check_password(kPublished, "Password").matches);
  EXPECT_FALSE(check_password(kPublished, "Password").needs_rehash);
}

TEST(Passwords, HashesWithAbsurdCostsOrBrokenFormsMatchNothing) {
  for (const char* stored :
       {"", "password", "$pbkdf2$", "$pbkdf2$0$73616c74$c5e478d59288c841aa530db6845c4c8d",
        "$pbkdf2$99999999999$73616c74$c5e478d59288c841aa530db6845c4c8d",
        "$pbkdf2$20000000$73616c74$c5e478d59288c841aa530db6845c4c8d", "$pbkdf2$1$7$c5e478d59288c841aa530db6845c4c8d",
        "$pbkdf2$1$73616c74$", "$pbkdf2$1$73616c74$zz",
        "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Ya2qnMnpl1pF1VLMtS1yYFYt3qbFvS3kMhQ4GQq5b0Q",
        "$argon2id$v=19$m=19456,t=200,p=1$c29tZXNhbHRzb21lc2FsdA$Ya2qnMnpl1pF1VLMtS1yYFYt3qbFvS3kMhQ4GQq5b0Q",
        "$argon2id$"}) {
    EXPECT_FALSE(check_password(stored, "password").matches) << stored;
    EXPECT_FALSE(is_password_hash(stored)) << stored;
  }
}

TEST(Passwords, AWeakerArgon2idHashAsksToBeRewritten) {
  // 8 MiB, t=1: what an older or smaller installation may have written.
  constexpr const char* kWeak = "$argon2id$v=19$m=8192,t=1,p=1$";
  EXPECT_FALSE(check_password(std::string(kWeak) + "c29tZXNhbHRzb21lc2FsdA$AAAA", "x").matches);
  EXPECT_FALSE(check_password(std::string(kWeak) + "c29tZXNhbHRzb21lc2FsdA$AAAA", "x").needs_rehash);
}

TEST(Passwords, EmptyAndOverlongPasswordsAreRefused) {
  EXPECT_EQ(hash_password("").error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(hash_password(std::string(kMaxPasswordBytes + 1, 'x')).error().kind, ErrorKind::invalid_argument);
  EXPECT_FALSE(check_password(kPublished, std::string(kMaxPasswordBytes + 1, 'x')).matches);
}

TEST(Passwords, CheckingNobodysPasswordComesBack) {
  check_password_of_nobody("whatever");
  check_password_of_nobody(std::string(kMaxPasswordBytes + 1, 'x'));
}

TEST(Passwords, ComplexityNeedsLengthAndFourKindsOfCharacters) {
  EXPECT_TRUE(check_complexity("Abcdef1!"));
  for (const char* weak : {"Abcde1!", "abcdef1!", "ABCDEF1!", "Abcdefg!", "Abcdefg1"}) {
    EXPECT_FALSE(check_complexity(weak)) << weak;
  }
}

TEST(Passwords, RandomPasswordsAreLongAndDiffer) {
  EXPECT_EQ(random_password().size(), 24U);
  EXPECT_NE(random_password(), random_password());
}

}  // namespace
}  // namespace appmesh::security

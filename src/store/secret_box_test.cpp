#include "store/secret_box.h"

#include <sys/stat.h>

#include <gmock/gmock.h>

#include "platform/file.h"
#include "platform/random.h"
#include "platform/test_directory.h"

namespace appmesh::store {
namespace {

using platform::TestDirectory;

TEST(SecretBox, MakesItsKeyOnceForItsOwnerOnly) {
  const TestDirectory dir;
  const auto first = SecretBox::open(dir / "key").value();
  struct stat info{};
  ASSERT_EQ(::stat((dir / "key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  EXPECT_EQ(info.st_size, 32);
  const auto second = SecretBox::open(dir / "key").value();
  EXPECT_EQ(second.unseal(first.seal("secret", "owner"), "owner").value(), "secret");
}

TEST(SecretBox, RefusesAKeyThatOthersCanReadOrThatHasAnotherSize) {
  const TestDirectory dir;
  ASSERT_TRUE(SecretBox::open(dir / "key"));
  ASSERT_EQ(::chmod((dir / "key").c_str(), 0644), 0);
  EXPECT_EQ(SecretBox::open(dir / "key").error().kind, ErrorKind::permission_denied);
  ASSERT_TRUE(platform::write_file_atomic(dir / "short", "12345", 0600));
  ASSERT_TRUE(platform::write_file_atomic(dir / "long", std::string(33, 'k'), 0600));
  ASSERT_TRUE(platform::write_file_atomic(dir / "longer", std::string(330, 'k'), 0600));
  for (const char* name : {"short", "long", "longer"}) {
    EXPECT_EQ(SecretBox::open(dir / name).error().kind, ErrorKind::invalid_argument) << name;
  }
  EXPECT_FALSE(SecretBox::open(dir / "no/such/place"));
}

TEST(SecretBox, GivesBackEveryBytesOfEveryLength) {
  const TestDirectory dir;
  const auto box = SecretBox::open(dir / "key").value();
  for (std::size_t size = 0; size < 70; ++size) {
    const std::string plain = platform::random_bytes(size);
    EXPECT_EQ(box.unseal(box.seal(plain, "o"), "o").value(), plain);
  }
  const std::string large = platform::random_bytes(100'000);
  EXPECT_EQ(box.unseal(box.seal(large, ""), "").value(), large);
}

TEST(SecretBox, TheSameTextIsSealedDifferentlyEachTimeAndNeverShows) {
  const TestDirectory dir;
  const auto box = SecretBox::open(dir / "key").value();
  EXPECT_NE(box.seal("password", "o"), box.seal("password", "o"));
  EXPECT_EQ(box.seal("password", "o").find("password"), std::string::npos);
}

TEST(SecretBox, AnotherOwnerKeyOrASingleChangedCharacterIsRefused) {
  const TestDirectory dir;
  const auto box = SecretBox::open(dir / "key").value();
  const auto other = SecretBox::open(dir / "other").value();
  for (const char* plain : {"password", "password1", "password12"}) {  // each padding
    const std::string sealed = box.seal(plain, "alice");
    EXPECT_FALSE(box.unseal(sealed, "mallory"));
    EXPECT_FALSE(other.unseal(sealed, "alice"));
    for (std::size_t i = 0; i < sealed.size(); ++i) {
      std::string changed = sealed;
      changed[i] = changed[i] == 'A' ? 'B' : 'A';
      EXPECT_FALSE(box.unseal(changed, "alice")) << i;
    }
  }
  for (const char* text : {"", "A", "====", "AAAA", "!!!!", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}) {
    EXPECT_FALSE(box.unseal(text, "alice")) << text;
  }
}

}  // namespace
}  // namespace appmesh::store

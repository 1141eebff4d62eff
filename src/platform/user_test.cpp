#include "platform/user.h"

#include <gmock/gmock.h>
#include <pwd.h>
#include <unistd.h>

namespace appmesh::platform {
namespace {

using testing::Contains;

TEST(User, RootIsKnownByNameAndByNumber) {
  const auto root = find_user("root");
  ASSERT_TRUE(root);
  EXPECT_EQ(root->uid, 0U);
  EXPECT_EQ(root->home, "/root");
  EXPECT_THAT(root->groups, Contains(root->gid));
  EXPECT_EQ(find_user(uid_t{0})->name, "root");
}

TEST(User, AnUnknownNameIsNotFoundAndNamed) {
  const auto nobody = find_user("no-such-user-here");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().kind, ErrorKind::not_found);
  EXPECT_THAT(nobody.error().message, testing::HasSubstr("no-such-user-here"));
  EXPECT_EQ(user_name(4'000'000'123U), "4000000123");
}

TEST(User, TheCurrentUserIsTheEffectiveOne) {
  EXPECT_EQ(current_user_name(), std::string{::getpwuid(::geteuid())->pw_name});
}

}  // namespace
}  // namespace appmesh::platform

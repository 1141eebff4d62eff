#include "core/access.h"

#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

bool can(std::string_view user, std::string_view group, std::uint32_t permission, Access access) {
  return may_access({user, group}, {"owner", "staff", permission}, access);
}

TEST(AccessTest, OwnerAndAdminBypassTheDigits) {
  EXPECT_TRUE(can("owner", "", 11, Access::write));
  EXPECT_TRUE(can("admin", "", 11, Access::write));
  EXPECT_FALSE(can("other", "", 11, Access::read));
}

TEST(AccessTest, TheOnesDigitIsTheGroupsAndTheTensDigitTheOthers) {
  EXPECT_TRUE(can("mate", "staff", 12, Access::read));
  EXPECT_FALSE(can("mate", "staff", 12, Access::write));
  EXPECT_FALSE(can("other", "guests", 12, Access::read));
  EXPECT_TRUE(can("mate", "staff", 13, Access::write));
  EXPECT_TRUE(can("other", "guests", 31, Access::write));
  EXPECT_TRUE(can("other", "guests", 33, Access::write));
}

TEST(AccessTest, AnAbsentDigitIsOpen) {
  EXPECT_TRUE(can("other", "guests", 0, Access::write));
  EXPECT_TRUE(can("other", "guests", 1, Access::write));
  EXPECT_TRUE(can("mate", "staff", 10, Access::write));
}

TEST(AccessTest, AnEmptyGroupIsNoGroup) {
  EXPECT_FALSE(may_access({"other", ""}, {"owner", "", 13}, Access::read));
}

TEST(AccessTest, AnAppWithoutOwnerIsOpen) {
  EXPECT_TRUE(may_access({"x", ""}, {"", "", 11}, Access::write));
}

}  // namespace
}  // namespace appmesh::core

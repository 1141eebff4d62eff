#include "platform/random.h"

#include <gtest/gtest.h>

namespace appmesh::platform {
namespace {

TEST(Random, GivesTheAskedLengthAndNeverTheSameTwice) {
  EXPECT_EQ(random_bytes(0).size(), 0U);
  EXPECT_EQ(random_bytes(1000).size(), 1000U);
  EXPECT_EQ(random_hex(16).size(), 32U);
  EXPECT_EQ(random_hex(16).find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(random_hex(16), random_hex(16));
}

}  // namespace
}  // namespace appmesh::platform

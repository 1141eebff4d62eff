#include "core/error.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace appmesh {
namespace {

TEST(ErrorTest, EveryKindHasItsStatus) {
  EXPECT_EQ(http_status(ErrorKind::already_reported), 208);
  EXPECT_EQ(http_status(ErrorKind::invalid_argument), 400);
  EXPECT_EQ(http_status(ErrorKind::permission_denied), 403);
  EXPECT_EQ(http_status(ErrorKind::precondition_failed), 412);
  EXPECT_EQ(http_status(ErrorKind::expectation_failed), 417);
  EXPECT_EQ(http_status(ErrorKind::loop_detected), 508);
}

TEST(ErrorTest, AFailedCallSaysStepAndReason) {
  const Result<int> result = fail_errno(ErrorKind::not_found, "open /x", EACCES);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "open /x: Permission denied");
}

}  // namespace
}  // namespace appmesh

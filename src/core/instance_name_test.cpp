#include "core/instance_name.h"

#include <gtest/gtest.h>

#include "core/app_definition.h"

namespace appmesh::core {
namespace {

TEST(InstanceName, the_first_instance_is_the_app_and_the_others_have_names_that_nobody_can_give) {
  EXPECT_EQ(instance_key("web", 0), "web");
  EXPECT_EQ(instance_key("web", 12), "web#12");
  EXPECT_FALSE(check_app_name("web#12"));
}

TEST(InstanceName, is_split_into_what_it_was_made_of) {
  EXPECT_EQ(split_instance("web").app, "web");
  EXPECT_EQ(split_instance("web").instance, 0U);
  EXPECT_EQ(split_instance("web#12").app, "web");
  EXPECT_EQ(split_instance("web#12").instance, 12U);
}

}  // namespace
}  // namespace appmesh::core

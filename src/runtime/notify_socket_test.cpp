#include "runtime/notify_socket.h"

#include <gtest/gtest.h>

namespace appmesh::runtime {
namespace {

TEST(Notification, is_lines_of_assignments_of_which_the_unknown_are_skipped) {
  EXPECT_EQ(parse_notification("READY=1\nSTATUS=on air\nFDSTORE=1\nX=\n\nMAINPID=4711"),
            (Notification{.ready = true, .status = "on air", .main_pid = 4711}));
  EXPECT_EQ(parse_notification("WATCHDOG=1\nSTOPPING=1\nBARRIER=1\n"),
            (Notification{.stopping = true, .watchdog = true, .barrier = true}));
  EXPECT_EQ(parse_notification("WATCHDOG=trigger"), (Notification{.trigger = true}));
}

TEST(Notification, nonsense_means_nothing) {
  for (const std::string_view text : {"", "READY", "READY=", "READY=2", "=1", "ready=1", " READY=1", "MAINPID=1",
                                      "MAINPID=-5", "MAINPID=7x", "MAINPID=99999999999999"})
    EXPECT_EQ(parse_notification(text), Notification{}) << text;
}

TEST(Notification, a_status_is_text_that_may_be_shown) {
  EXPECT_EQ(parse_notification("STATUS=a\x1b[31mb\x7f").status, "a?[31mb?");
  EXPECT_EQ(parse_notification("STATUS=\xc3\xa9").status, "\xc3\xa9");
  EXPECT_EQ(parse_notification("STATUS=a\xff").status, "a?");
  const std::string cut = "STATUS=" + std::string(kMaxStatusBytes - 1, 'x') + "\xc3\xa9";
  EXPECT_EQ(parse_notification(cut).status, std::string(kMaxStatusBytes - 1, 'x'));
}

}  // namespace
}  // namespace appmesh::runtime

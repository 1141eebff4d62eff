#include "platform/inotify.h"

#include <array>
#include <cstring>

#include <sys/inotify.h>

#include <fcntl.h>
#include <gmock/gmock.h>

#include "platform/file.h"
#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

class InotifyTest : public testing::Test {
 protected:
  // Waits until something is there, because the events of another descriptor's work come without delay but not before
  // it.
  std::vector<std::pair<std::uint32_t, std::string>> events() {
    std::vector<std::pair<std::uint32_t, std::string>> seen;
    auto walk = inotify.read(buffer);
    EXPECT_TRUE(walk);
    for (InotifyEvent event; walk->next(event);) seen.emplace_back(event.mask, std::string{event.name});
    return seen;
  }
  TestDirectory dir;
  Inotify inotify = Inotify::create().value();
  std::array<std::byte, 4096> buffer{};
};

TEST_F(InotifyTest, TellsOfAnAppendAndOfANewNameInADirectory) {
  EXPECT_TRUE(events().empty());
  ASSERT_TRUE(inotify.add_watch(dir.path(), IN_CREATE | IN_MOVED_TO));
  const UniqueFd fd{::open((dir / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)};
  const int file_watch = inotify.add_watch(dir / "log", IN_MODIFY).value();
  ASSERT_TRUE(write_all(fd.get(), "line\n"));
  EXPECT_THAT(events(), testing::ElementsAre(std::pair{IN_CREATE, "log"}, std::pair{IN_MODIFY, ""}));
  EXPECT_TRUE(inotify.remove_watch(file_watch));
  EXPECT_TRUE(inotify.remove_watch(file_watch));
}

TEST_F(InotifyTest, AWatchOfNothingIsNotFound) {
  EXPECT_EQ(inotify.add_watch(dir / "none", IN_MODIFY).error().kind, ErrorKind::not_found);
}

TEST_F(InotifyTest, ATruncatedBufferEndsTheWalk) {
  InotifyEvent event;
  EXPECT_FALSE(InotifyEvents{std::span{buffer}.first(3)}.next(event));
  inotify_event header{.wd = 1, .mask = IN_MODIFY, .cookie = 0, .len = 100};
  std::memcpy(buffer.data(), &header, sizeof header);
  EXPECT_FALSE((InotifyEvents{std::span{buffer}.first(sizeof header + 10)}.next(event)));
}

}  // namespace
}  // namespace appmesh::platform

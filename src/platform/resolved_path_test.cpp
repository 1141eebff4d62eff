#include "platform/resolved_path.h"

#include <atomic>
#include <fstream>
#include <thread>

#include <sys/stat.h>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

namespace fs = std::filesystem;

class ResolvedPath : public testing::Test {
 protected:
  ResolvedPath() : root_(directory_.path() / "root"), outside_(directory_.path() / "outside") {
    fs::create_directories(root_ / "sub");
    fs::create_directories(outside_);
    std::ofstream(root_ / "sub/file") << "inside";
    std::ofstream(outside_ / "secret") << "outside";
  }

  static ErrorKind kind_of(const Result<UniqueFd>& opened) {
    return opened ? ErrorKind::internal : opened.error().kind;
  }

  TestDirectory directory_;
  fs::path root_;
  fs::path outside_;
};

TEST_F(ResolvedPath, FollowsSymlinksAndTellsWhereTheyLed) {
  fs::create_symlink("sub/file", root_ / "relative");
  fs::create_symlink(outside_ / "secret", root_ / "away");
  const auto inside = open_path(root_ / "relative", root_);
  ASSERT_TRUE(inside);
  EXPECT_EQ(*real_path(inside->get()), fs::canonical(root_ / "sub/file"));
  const auto away = open_path(root_ / "away", {});
  ASSERT_TRUE(away);
  EXPECT_EQ(*real_path(away->get()), fs::canonical(outside_ / "secret"));
}

TEST_F(ResolvedPath, NothingLeadsOutOfTheBase) {
  fs::create_symlink(outside_ / "secret", root_ / "absolute");
  fs::create_symlink("../outside/secret", root_ / "relative");
  fs::create_symlink("../../outside", root_ / "sub/directory");
  fs::create_symlink("/", root_ / "slash");
  for (const char* name : {"absolute", "relative", "sub/directory/secret", "slash/etc/passwd", "../outside/secret",
                           "sub/../../outside/secret"}) {
    EXPECT_EQ(kind_of(open_path(root_ / name, root_)), ErrorKind::permission_denied) << name;
  }
  EXPECT_EQ(kind_of(open_path("/etc/passwd", root_)), ErrorKind::permission_denied);
  EXPECT_EQ(kind_of(open_path_directory(root_ / "sub/directory", root_)), ErrorKind::permission_denied);
  EXPECT_TRUE(open_path_directory(root_ / "sub", root_));
  EXPECT_TRUE(open_path_directory(root_, root_));
}

TEST_F(ResolvedPath, MagicLinksAndLoopsAreRefused) {
  fs::create_symlink("loop", root_ / "loop");
  for (const fs::path& path : {root_ / "loop", fs::path("/proc/self/root/etc/passwd"), fs::path("/proc/self/cwd")}) {
    EXPECT_EQ(kind_of(open_path(path, {})), ErrorKind::permission_denied) << path;
  }
}

TEST_F(ResolvedPath, NamingAFifoDoesNotWaitForAWriter) {
  ASSERT_EQ(::mkfifo((root_ / "fifo").c_str(), 0600), 0);
  EXPECT_TRUE(open_path(root_ / "fifo", {}));
}

TEST_F(ResolvedPath, ADeletedFileHasNoPath) {
  const auto opened = open_path(root_ / "sub/file", {});
  fs::remove(root_ / "sub/file");
  EXPECT_EQ(real_path(opened->get()).error().kind, ErrorKind::not_found);
}

TEST_F(ResolvedPath, ReopeningIsTheSameFileWhateverItsNameMeansByThen) {
  const auto opened = open_path(root_ / "sub/file", root_);
  fs::rename(root_ / "sub/file", root_ / "moved");
  fs::create_symlink(outside_ / "secret", root_ / "sub/file");
  const auto readable = reopen(opened->get(), O_RDONLY);
  ASSERT_TRUE(readable);
  char text[16] = {};
  EXPECT_EQ(::read(readable->get(), text, sizeof text), 6);
  EXPECT_STREQ(text, "inside");
}

// A directory that turns into a symlink and back: the file inside or an error, never the one outside.
TEST_F(ResolvedPath, ARaceOfRenamesLeadsNobodyOut) {
  fs::create_directories(root_ / "play");
  std::ofstream(root_ / "play/secret") << "inside";
  fs::create_symlink("../outside", root_ / "link");
  std::atomic<bool> stop{false};
  std::thread swapper([&] {
    while (!stop) {
      ::renameat2(AT_FDCWD, (root_ / "play").c_str(), AT_FDCWD, (root_ / "link").c_str(), RENAME_EXCHANGE);
    }
  });
  const fs::path secret = fs::canonical(outside_ / "secret");
  unsigned opened_count = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto opened = open_path(root_ / "play/secret", root_);
    if (!opened) continue;
    ++opened_count;
    const auto real = real_path(opened->get());
    if (real) EXPECT_NE(*real, secret);
  }
  stop = true;
  swapper.join();
  EXPECT_GT(opened_count, 0U);
}

TEST(IsBelow, ComparesWholeComponents) {
  EXPECT_TRUE(is_below("/a/b", "/a"));
  EXPECT_TRUE(is_below("/a", "/a"));
  EXPECT_TRUE(is_below("/a", "/"));
  EXPECT_FALSE(is_below("/ab", "/a"));
  EXPECT_FALSE(is_below("/", "/a"));
}

}  // namespace
}  // namespace appmesh::platform

#include "platform/new_file.h"

#include <fstream>
#include <iterator>

#include <sys/stat.h>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "platform/file.h"
#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

namespace fs = std::filesystem;

class NewFileTest : public testing::Test {
 protected:
  [[nodiscard]] UniqueFd directory() const { return *open_directory(directory_.path()); }
  [[nodiscard]] fs::path path(const char* name) const { return directory_.path() / name; }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_.path()), {}));
  }
  TestDirectory directory_;
};

TEST_F(NewFileTest, AppearsWholeAndWithItsModeAtCommit) {
  auto file = NewFile::create(directory(), "a");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append("hello "));
  ASSERT_TRUE(file->append("world"));
  EXPECT_EQ(entries(), 0U);
  ASSERT_TRUE(file->commit({.mode = 0640}));
  EXPECT_EQ(*read_file(path("a"), 100), "hello world");
  struct stat info{};
  ::stat(path("a").c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777U, 0640U);
}

TEST_F(NewFileTest, ALongFileIsGivenToTheDiskMeanwhileAndIsWholeAtTheEnd) {
  constexpr std::size_t kPieces = 100;  // more than may wait for the disk
  auto file = NewFile::create(directory(), "long");
  for (std::size_t i = 0; i < kPieces; ++i) {
    ASSERT_TRUE(file->append(std::string(1024UL * 1024, static_cast<char>(i))));
  }
  ASSERT_TRUE(file->commit({}));
  const auto content = read_file(path("long"), kPieces * 1024 * 1024 + 1);
  ASSERT_TRUE(content);
  ASSERT_EQ(content->size(), kPieces * 1024 * 1024);
  for (std::size_t i = 0; i < kPieces; ++i) EXPECT_EQ((*content)[i * 1024 * 1024 + 7], static_cast<char>(i));
}

TEST_F(NewFileTest, WithoutCommitNothingIsLeft) {
  {
    auto file = NewFile::create(directory(), "a");
    ASSERT_TRUE(file->append("x"));
  }
  EXPECT_EQ(entries(), 0U);
}

TEST_F(NewFileTest, NeverReplacesWhatHasTheNameNorFollowsIt) {
  auto file = NewFile::create(directory(), "a");
  auto other = NewFile::create(directory(), "link");
  std::ofstream(path("a")) << "old";
  fs::create_symlink("nowhere", path("link"));
  EXPECT_EQ(file->commit({}).error().kind, ErrorKind::conflict);
  EXPECT_EQ(other->commit({}).error().kind, ErrorKind::conflict);
  EXPECT_EQ(*read_file(path("a"), 100), "old");
  EXPECT_FALSE(fs::exists(path("nowhere")));
}

// Where there are no nameless files. What the file system here knows does not matter then.
TEST_F(NewFileTest, AHiddenNameStandsInAndGoesWithTheCommit) {
  auto file = NewFile::create_hidden(directory(), "a");
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append("hello"));
  EXPECT_EQ(entries(), 1U);
  EXPECT_FALSE(fs::exists(path("a")));
  ASSERT_TRUE(file->commit({.mode = 0640}));
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(*read_file(path("a"), 100), "hello");
}

TEST_F(NewFileTest, AHiddenNameIsTakenAwayWithoutCommit) {
  {
    auto file = NewFile::create_hidden(directory(), "a");
    ASSERT_TRUE(file->append("x"));
    EXPECT_EQ(entries(), 1U);
  }
  EXPECT_EQ(entries(), 0U);
}

TEST_F(NewFileTest, AHiddenNameReplacesNothingEither) {
  {
    auto file = NewFile::create_hidden(directory(), "a");
    ASSERT_TRUE(file->append("new"));
    std::ofstream(path("a")) << "old";
    EXPECT_EQ(file->commit({}).error().kind, ErrorKind::conflict);
  }
  EXPECT_EQ(*read_file(path("a"), 100), "old");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(NewFileTest, WhatAKilledProcessLeftGoesWithTheNextFileAndWhatIsHeldStays) {
  std::ofstream(path(".appmesh-upload-0123456789abcdef")) << "left behind";
  std::ofstream(path(".appmesh-other")) << "not ours";
  auto held = NewFile::create_hidden(directory(), "held");
  auto next = NewFile::create_hidden(directory(), "next");
  ASSERT_TRUE(held);
  ASSERT_TRUE(next);
  EXPECT_FALSE(fs::exists(path(".appmesh-upload-0123456789abcdef")));
  EXPECT_TRUE(fs::exists(path(".appmesh-other")));
  ASSERT_TRUE(held->append("kept"));
  ASSERT_TRUE(held->commit({}));
  EXPECT_EQ(*read_file(path("held"), 100), "kept");
}

TEST_F(NewFileTest, AFullDiskSaysSo) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(write_all(full.get(), "x").error().kind, ErrorKind::insufficient_storage);
}

}  // namespace
}  // namespace appmesh::platform

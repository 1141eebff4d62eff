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

TEST_F(NewFileTest, AFullDiskSaysSo) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP();
  const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(write_all(full.get(), "x").error().kind, ErrorKind::insufficient_storage);
}

}  // namespace
}  // namespace appmesh::platform

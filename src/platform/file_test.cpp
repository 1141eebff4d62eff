#include "platform/file.h"

#include <sys/stat.h>

#include <fcntl.h>
#include <gmock/gmock.h>

#include "platform/test_child.h"
#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAre;

mode_t mode_of(const std::filesystem::path& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0);
  return info.st_mode & 07777U;
}

TEST(File, AtomicWriteReplacesTheContentAndLeavesNothingBeside) {
  const TestDirectory dir;
  const auto path = dir / "a.yaml";
  ASSERT_TRUE(write_file_atomic(path, "one", 0600));
  ASSERT_TRUE(write_file_atomic(path, "two", 0600));
  EXPECT_EQ(read_file(path, 100).value(), "two");
  EXPECT_EQ(mode_of(path), 0600U);
  const auto fd = open_directory(dir.path()).value();
  EXPECT_THAT(list_directory(fd.get(), 10).value(), UnorderedElementsAre("a.yaml"));
}

TEST(File, AtomicWriteGivesTheModeWhateverTheUmask) {
  const TestDirectory dir;
  const mode_t old = ::umask(0077);
  EXPECT_TRUE(write_file_atomic(dir / "open", "x", 0644));
  EXPECT_TRUE(make_dirs(dir / "d/e", 0755));
  ::umask(old);
  EXPECT_EQ(mode_of(dir / "open"), 0644U);
  EXPECT_EQ(mode_of(dir / "d/e"), 0755U);
}

TEST(File, ABatchWritesEachFileOnItsOwnAndSaysWhichFailed) {
  const TestDirectory dir;
  ASSERT_TRUE(make_dirs(dir / "f70/in-the-way", 0700));
  std::vector<NewContent> files;
  for (int i = 0; i < 150; ++i)
    files.push_back({"f" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'x')});
  const auto fd = open_directory(dir.path()).value();
  const auto results = write_files_atomic_at(fd.get(), files, 0600);
  ASSERT_EQ(results.size(), 150U);
  for (std::size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].has_value(), i != 70) << i;
  EXPECT_EQ(read_file(dir / "f149", 1000).value().size(), 149U);
  EXPECT_EQ(list_directory(fd.get(), 1000).value().size(), 150U) << "no temporary file is left";
}

TEST(File, AtomicWriteOverADirectoryFailsAndLeavesNothingBehind) {
  const TestDirectory dir;
  ASSERT_TRUE(make_dirs(dir / "sub/full", 0700));
  EXPECT_FALSE(write_file_atomic(dir / "sub", "x", 0600));
  const auto fd = open_directory(dir.path()).value();
  EXPECT_THAT(list_directory(fd.get(), 10).value(), UnorderedElementsAre("sub"));
}

TEST(File, ReadRefusesMoreThanTheLimitAndNamesTheFile) {
  const TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "big", std::string(101, 'x'), 0600));
  EXPECT_EQ(read_file(dir / "big", 101).value().size(), 101U);
  const auto refused = read_file(dir / "big", 100);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::too_large);
  EXPECT_THAT(refused.error().message, HasSubstr("/big"));
}

TEST(File, ReadOfWhatIsNotARegularFileIsRefusedAndDoesNotHang) {
  const TestDirectory dir;
  ASSERT_EQ(::mkfifo((dir / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(read_file(dir / "fifo", 10).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(read_file(dir.path(), 10).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(read_file(dir / "none", 10).error().kind, ErrorKind::not_found);
}

TEST(File, ReadGetsAllOfAProcFileThatClaimsNoSize) {
  EXPECT_THAT(read_file("/proc/self/status", 100'000).value(), HasSubstr("Pid:"));
}

TEST(File, ASecretThatOthersMayReadIsRefused) {
  const TestDirectory dir;
  ASSERT_TRUE(write_file_atomic(dir / "key", "x", 0600));
  EXPECT_EQ(read_private_file(dir / "key", 10).value(), "x");
  ASSERT_EQ(::chmod((dir / "key").c_str(), 0640), 0);
  EXPECT_EQ(read_private_file(dir / "key", 10).error().kind, ErrorKind::permission_denied);
}

TEST(File, CreateNeverOverwrites) {
  const TestDirectory dir;
  ASSERT_TRUE(create_file(dir / "key", "first", 0600));
  const auto second = create_file(dir / "key", "second", 0600);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::conflict);
  EXPECT_EQ(read_file(dir / "key", 10).value(), "first");
}

TEST(File, MakeDirsAcceptsWhatIsThereAndRefusesAFileInTheWay) {
  const TestDirectory dir;
  EXPECT_TRUE(make_dirs(dir / "a/b/c", 0700));
  EXPECT_TRUE(make_dirs(dir / "a/b/c", 0700));
  ASSERT_TRUE(write_file_atomic(dir / "file", "", 0600));
  EXPECT_FALSE(make_dirs(dir / "file", 0700));
  EXPECT_FALSE(make_dirs(dir / "file/below", 0700));
}

TEST(File, ListDirectoryHasALimit) {
  const TestDirectory dir;
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(write_file_atomic(dir / name, "", 0600));
  const auto fd = open_directory(dir.path()).value();
  EXPECT_EQ(list_directory(fd.get(), 3).value().size(), 3U);
  EXPECT_EQ(list_directory(fd.get(), 2).error().kind, ErrorKind::too_large);
}

TEST(LockFile, NamesItsHolderAndIsFreeAgainWhenLetGo) {
  const TestDirectory dir;
  {
    const auto first = LockFile::acquire(dir / "lock");
    ASSERT_TRUE(first);
    EXPECT_EQ(read_file(dir / "lock", 100).value(), std::to_string(::getpid()) + "\n");
    const auto second = LockFile::acquire(dir / "lock");
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::conflict);
    EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  }
  EXPECT_TRUE(LockFile::acquire(dir / "lock"));
}

TEST(LockFile, IsNotInheritedByPrograms) {
  const TestDirectory dir;
  auto lock = std::make_unique<Result<LockFile>>(LockFile::acquire(dir / "lock"));
  ASSERT_TRUE(*lock);
  const TestChild child{{"sleep", "600"}};
  lock.reset();
  EXPECT_TRUE(LockFile::acquire(dir / "lock"));
}

TEST(UniqueFd, ClosesExactlyOnceAndMoves) {
  int number = -1;
  {
    UniqueFd fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
    number = fd.get();
    UniqueFd other = std::move(fd);
    EXPECT_EQ(other.get(), number);
    EXPECT_EQ(::fcntl(number, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace appmesh::platform

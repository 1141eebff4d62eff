#include "runtime/output_files.h"

#include <sys/stat.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include "platform/file.h"

namespace appmesh::runtime {
namespace {

class OutputFilesTest : public testing::Test {
 protected:
  OutputFilesTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "output-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~OutputFilesTest() override { std::filesystem::remove_all(directory_); }

  void write(const std::string& text) {
    const auto fd = files_().open_for_run("app", 1);
    ASSERT_TRUE(fd);
    ASSERT_TRUE(platform::write_all(fd->get(), text));
  }
  [[nodiscard]] OutputFiles files_() const { return OutputFiles(directory_); }
  std::filesystem::path directory_;
};

TEST_F(OutputFilesTest, ReadsFromAPositionAndTellsTheNext) {
  write("hello world");
  const auto chunk = files_().read("app", 1, 6, 3);
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->bytes, "wor");
  EXPECT_EQ(chunk->begin, 6U);
  EXPECT_EQ(chunk->end, 9U);
  EXPECT_EQ(chunk->size, 11U);
}

TEST_F(OutputFilesTest, TheEndIsAnEmptyChunkAndBeyondItIsAnError) {
  write("abc");
  EXPECT_EQ(files_().read("app", 1, 3, 10)->bytes, "");
  EXPECT_EQ(files_().read("app", 1, 3, 10)->end, 3U);
  EXPECT_EQ(files_().read("app", 1, 4, 10).error().kind, ErrorKind::expectation_failed);
  EXPECT_EQ(files_().read("app", 2, 0, 10).error().kind, ErrorKind::not_found);
}

TEST_F(OutputFilesTest, AppendsWhenOpenedAgain) {
  write("one ");
  write("two");
  EXPECT_EQ(files_().read("app", 1, 0, 100)->bytes, "one two");
}

TEST_F(OutputFilesTest, GivesBackTheHeadAndKeepsThePositions) {
  constexpr std::uint64_t kBlock = 4096;
  std::string text;
  for (int block = 0; block < 64; ++block) text += std::string(kBlock, static_cast<char>('a' + block % 26));
  write(text);
  ASSERT_TRUE(files_().bound("app", 1, 16 * kBlock));
  EXPECT_EQ(files_().size("app", 1), text.size());
  struct stat status{};
  ASSERT_EQ(::stat(files_().path("app", 1).c_str(), &status), 0);
  EXPECT_LE(static_cast<std::uint64_t>(status.st_blocks) * 512, 17 * kBlock);

  const auto chunk = files_().read("app", 1, 0, 10 * kBlock);
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->begin, 48 * kBlock);
  EXPECT_EQ(chunk->bytes, text.substr(48 * kBlock, 10 * kBlock));
  EXPECT_EQ(chunk->end, 58 * kBlock);
  const auto later = files_().read("app", 1, 60 * kBlock, 10 * kBlock);
  EXPECT_EQ(later->bytes, text.substr(60 * kBlock));
}

TEST_F(OutputFilesTest, ListsItsOwnFilesOnly) {
  write("x");
  ASSERT_TRUE(files_().open_for_run("other_app", 12));
  ASSERT_TRUE(platform::create_file(directory_ / "notes.txt", "", 0600));
  ASSERT_TRUE(platform::create_file(directory_ / "app.zero.log", "", 0600));
  const auto entries = files_().list();
  EXPECT_EQ(entries.size(), 2U);
  for (const auto& entry : entries) EXPECT_EQ(entry.run, entry.app == "app" ? 1U : 12U);
}

}  // namespace
}  // namespace appmesh::runtime

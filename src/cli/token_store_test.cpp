#include "cli/token_store.h"

#include <cstdlib>
#include <fstream>
#include <thread>

#include <sys/stat.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/exit_code.h"

namespace appmesh::cli {
namespace {

namespace fs = std::filesystem;

class TokenStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "appc-store-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static unsigned mode(const fs::path& path) {
    struct stat status{};
    ::stat(path.c_str(), &status);
    return status.st_mode & 0777;
  }

  fs::path folder_;
};

TEST_F(TokenStoreTest, ATokenIsTheUsersAlone) {
  ::umask(0);
  const TokenStore store(folder_ / "data", folder_ / "config");
  const Url url{"127.0.0.1", 6060};
  EXPECT_FALSE(store.load(url));
  store.save(url, "one");
  EXPECT_EQ(store.load(url), "one");
  EXPECT_EQ(store.token_file(url), folder_ / "data/tokens/127.0.0.1/.token");
  EXPECT_EQ(mode(store.token_file(url)), 0600u);
  EXPECT_EQ(mode(store.token_file(url).parent_path()), 0700u);
  EXPECT_EQ(mode(folder_ / "data"), 0700u);
  ::umask(022);
}

TEST_F(TokenStoreTest, DaemonsOnOneHostKeepTheirTokensApart) {
  const TokenStore store(folder_, folder_);
  store.save({"h", 6060}, "one");
  store.save({"h", 7070}, "two");
  EXPECT_EQ(store.load({"h", 6060}), "one");
  EXPECT_EQ(store.load({"h", 7070}), "two");
  store.remove({"h", 6060});
  store.remove({"h", 6060});
  EXPECT_FALSE(store.load({"h", 6060}));
  EXPECT_EQ(store.load({"h", 7070}), "two");
}

TEST_F(TokenStoreTest, AHostNameCannotLeaveTheFolder) {
  const TokenStore store(folder_, folder_);
  EXPECT_EQ(store.token_file({"..", 6060}), folder_ / "tokens/_./.token");
}

TEST_F(TokenStoreTest, ALinkInPlaceOfATokenIsNotFollowed) {
  const TokenStore store(folder_, folder_);
  const Url url{"h", 6060};
  std::ofstream(folder_ / "other") << "stolen";
  fs::create_directories(store.token_file(url).parent_path());
  fs::create_symlink(folder_ / "other", store.token_file(url));
  EXPECT_FALSE(store.load(url));
  store.save(url, "mine");  // replaces the link, not what it points to
  EXPECT_EQ(store.load(url), "mine");
  std::string other;
  std::ifstream(folder_ / "other") >> other;
  EXPECT_EQ(other, "stolen");
}

TEST_F(TokenStoreTest, ManyWritersLeaveOneWholeToken) {
  const TokenStore store(folder_, folder_);
  const Url url{"h", 6060};
  {
    std::vector<std::jthread> writers;
    for (char c = 'a'; c < 'e'; ++c) {
      writers.emplace_back([&, c] {
        for (int i = 0; i < 50; ++i) store.save(url, std::string(2000, c));
      });
    }
  }
  const auto token = store.load(url);
  ASSERT_TRUE(token);
  EXPECT_EQ(*token, std::string(2000, token->front()));
  const fs::directory_iterator files(store.token_file(url).parent_path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(TokenStoreTest, RemembersTheDaemonUsedLastAndKeepsForeignSettings) {
  const TokenStore store(folder_, folder_ / "config");
  EXPECT_FALSE(store.last_host_url());
  fs::create_directories(folder_ / "config");
  std::ofstream(store.config_file()) << R"({"theme":"dark"})";
  store.save_last_host_url("https://a:1");
  EXPECT_EQ(store.last_host_url(), "https://a:1");
  std::ifstream file(store.config_file());
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  EXPECT_NE(text.find("dark"), std::string::npos);
}

}  // namespace
}  // namespace appmesh::cli

#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/exec_words.h"
#include "cli/program.h"

namespace appmesh::cli {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CompletionTest : public ::testing::Test {
 protected:
  std::vector<std::string> ask(const std::vector<std::string>& words) {
    return candidates(*parser_, words, [] { return std::vector<std::string>{"web", "worker", "other"}; });
  }

  Context context_;
  std::unique_ptr<CLI::App> parser_ = make_parser(context_);
};

TEST_F(CompletionTest, OffersVerbsThenOptionsThenNames) {
  EXPECT_THAT(ask({"en"}), ElementsAre("enable"));
  EXPECT_THAT(ask({""}), Contains("logon"));
  EXPECT_THAT(ask({"ls", "--f"}), ElementsAre("--follow", "--format", "--forward-to"));
  EXPECT_THAT(ask({"ls", "-a", "w"}), ElementsAre("web", "worker"));
  EXPECT_THAT(ask({"rm", "--app", ""}), ElementsAre("other", "web", "worker"));
  EXPECT_THAT(ask({"ls", "-la", "o"}), ElementsAre("other"));
}

TEST_F(CompletionTest, OffersTheValuesThatAnOptionTakes) {
  EXPECT_THAT(ask({"add", "-Q", "re"}), ElementsAre("remove", "restart"));
  EXPECT_THAT(ask({"ls", "--format", "y"}), ElementsAre("yaml"));
  EXPECT_THAT(ask({"completion", ""}), ElementsAre("bash", "fish", "zsh"));
}

TEST_F(CompletionTest, LeavesFilesAndForeignWordsToTheShell) {
  EXPECT_THAT(ask({"add", "-D", ""}), IsEmpty());
  EXPECT_THAT(ask({"nonsense", ""}), Contains("logon"));
  EXPECT_THAT(ask({}), IsEmpty());
}

TEST_F(CompletionTest, LooksPastTheValuesOfGlobalOptions) {
  EXPECT_THAT(ask({"-H", "ls", "en"}), ElementsAre("enable"));
  EXPECT_THAT(ask({"-H", "https://a", "ls", "-a", "we"}), ElementsAre("web"));
}

TEST_F(CompletionTest, ExecKeepsTheWordsOfTheRemoteCommand) {
  const auto cut = [&](std::vector<std::string> words) {
    auto command = cut_exec_words(*parser_, words);
    command.insert(command.begin(), std::to_string(words.size()));
    return command;
  };
  EXPECT_THAT(cut({"exec", "ls", "-l"}), ElementsAre("1", "ls", "-l"));
  EXPECT_THAT(cut({"-v", "exec", "-t", "5", "-uG", "ls", "-a", "x"}), ElementsAre("5", "ls", "-a", "x"));
  EXPECT_THAT(cut({"exec", "-e", "A=1", "--", "-x"}), ElementsAre("3", "-x"));
  EXPECT_THAT(cut({"exec", "-eA=1", "--timeout=5", "-H", "h", "ls"}), ElementsAre("5", "ls"));
  EXPECT_THAT(cut({"exec", "-t"}), ElementsAre("2"));
  EXPECT_THAT(cut({"run", "-c", "ls", "-u"}), ElementsAre("4"));
}

}  // namespace
}  // namespace appmesh::cli

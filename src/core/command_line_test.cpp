#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/app_definition.h"

namespace appmesh::core {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> words(std::string_view command) {
  auto split = split_command(command);
  return split ? *split : std::vector<std::string>{"error: " + split.error().message};
}

TEST(CommandLineTest, SplitsAtBlanks) {
  EXPECT_THAT(words("  ping\t-c 3\nhost "), ElementsAre("ping", "-c", "3", "host"));
}

TEST(CommandLineTest, SingleQuotesKeepEverything) {
  EXPECT_THAT(words(R"(sh -c 'echo "$HOME" \n')"), ElementsAre("sh", "-c", R"(echo "$HOME" \n)"));
}

TEST(CommandLineTest, DoubleQuotesKnowFiveEscapes) {
  EXPECT_THAT(words(R"(e "a\"b\\c\$d\`e\n")"), ElementsAre("e", R"(a"b\c$d`e\n)"));
  EXPECT_THAT(words("e \"a\\\nb\""), ElementsAre("e", "ab"));
}

TEST(CommandLineTest, ABackslashQuotesOneCharacter) {
  EXPECT_THAT(words(R"(e a\ b \'c\\)"), ElementsAre("e", "a b", R"('c\)"));
  EXPECT_THAT(words("e a\\\nb"), ElementsAre("e", "ab"));
}

TEST(CommandLineTest, QuotedPiecesJoinAndMayBeEmpty) {
  EXPECT_THAT(words(R"(e a'b'"c" '' "")"), ElementsAre("e", "abc", "", ""));
}

TEST(CommandLineTest, NothingIsExpanded) {
  EXPECT_THAT(words("e $X * # a;b"), ElementsAre("e", "$X", "*", "#", "a;b"));
}

TEST(CommandLineTest, UnbalancedQuotesAndEmptyCommandsAreErrors) {
  for (const char* command : {"", "   ", "''", "a 'b", "a \"b", "a \"b\\", "a\\"})
    EXPECT_FALSE(split_command(command)) << command;
}

}  // namespace
}  // namespace appmesh::core

#include "core/text.h"

#include <string>

#include <gtest/gtest.h>

namespace appmesh::core {
namespace {

TEST(Text, TheTailIsWhatMoreBytesCouldComplete) {
  EXPECT_EQ(incomplete_tail(""), 0U);
  EXPECT_EQ(incomplete_tail("abc"), 0U);
  EXPECT_EQ(incomplete_tail("a\xE2\x82\xAC"), 0U) << "complete";
  EXPECT_EQ(incomplete_tail("a\xE2\x82"), 2U);
  EXPECT_EQ(incomplete_tail("a\xE2"), 1U);
  EXPECT_EQ(incomplete_tail("\xF0\x9F\x98"), 3U);
  EXPECT_EQ(incomplete_tail("\xF0\x9F"), 2U);
  EXPECT_EQ(incomplete_tail("\x80\x80\x80"), 0U) << "no beginning";
  EXPECT_EQ(incomplete_tail("\xE0\x80"), 0U) << "overlong: can never be completed";
  EXPECT_EQ(incomplete_tail("\xED\xA0"), 0U) << "a surrogate";
  EXPECT_EQ(incomplete_tail("\xFF"), 0U);
}

TEST(Text, WhatIsNoUtf8IsReplacedAndTheRestStays) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(repair_utf8("plain \xE2\x82\xAC"), "plain \xE2\x82\xAC");
  EXPECT_EQ(repair_utf8("\xFF|"), mark + "|");
  EXPECT_EQ(repair_utf8("\xE2\x82|"), mark + "|") << "one for a character that breaks off";
  EXPECT_EQ(repair_utf8("\xC0\x80"), mark + mark);
  EXPECT_EQ(repair_utf8("\xED\xA0\x80"), mark + mark + mark);
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98"), mark);
  EXPECT_EQ(repair_utf8("\xF0\x9F\x98\x80\xF4\x90\x80\x80"), "\xF0\x9F\x98\x80" + mark + mark + mark + mark);
  EXPECT_EQ(repair_utf8(std::string("\0a", 2)), std::string("\0a", 2));
}

// Cut anywhere, the pieces that are held back and completed give the whole again.
TEST(Text, PiecesCutAtTheTailAreWholeTogether) {
  const std::string whole = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  for (std::size_t step = 1; step <= whole.size(); ++step) {
    std::string told, held;
    for (std::size_t at = 0; at < whole.size(); at += step) {
      std::string piece = held + whole.substr(at, step);
      held = piece.substr(piece.size() - incomplete_tail(piece));
      piece.resize(piece.size() - held.size());
      EXPECT_TRUE(is_utf8(piece));
      told += repair_utf8(piece);
    }
    EXPECT_EQ(told, whole) << step;
    EXPECT_TRUE(held.empty());
  }
}

TEST(Text, PlainTextHasNothingThatATerminalObeys) {
  EXPECT_EQ(plain_text("a\x1b[31mb\n\x7f\xc2\x9b\xc3\xa4\xff"), "a?[31mb???\xc3\xa4\xEF\xBF\xBD");
  EXPECT_EQ(plain_text(""), "");
}

TEST(Text, TheNearestWordIsWhatWasMeant) {
  constexpr std::string_view kWords[] = {"name", "command", "retention", "env"};
  EXPECT_EQ(nearest_word("nmae", kWords), "name");
  EXPECT_EQ(nearest_word("comand", kWords), "command");
  EXPECT_EQ(nearest_word("retenshon", kWords), "retention");
  EXPECT_EQ(nearest_word("colour", kWords), "");
  EXPECT_EQ(nearest_word("x", kWords), "");
}

}  // namespace
}  // namespace appmesh::core

#include "appmesh/wire/json_text.h"

#include <bit>
#include <cstdint>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "appmesh/wire/utf8.h"

namespace appmesh::wire {
namespace {

namespace json = boost::json;

json::value read(std::string_view text) {
  boost::system::error_code error;
  json::value value = read_json(text, error);
  EXPECT_FALSE(error) << text << ": " << error.message();
  return value;
}

TEST(JsonTextTest, WritesDoublesAsOthersDo) {
  EXPECT_EQ(write_json(0.0), "0.0");
  EXPECT_EQ(write_json(3.0), "3.0");
  EXPECT_EQ(write_json(19.99), "19.99");
  EXPECT_EQ(write_json(-0.5), "-0.5");
  EXPECT_EQ(write_json(1e300), "1e+300");
  EXPECT_EQ(write_json(std::numeric_limits<double>::infinity()), "null");
}

TEST(JsonTextTest, EveryDoubleReadsBackAsItself) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 200'000; ++i) {
    const auto number = std::bit_cast<double>(random());
    if (!std::isfinite(number)) continue;
    const json::value back = read(write_json(number));
    ASSERT_TRUE(back.is_double()) << write_json(number);
    ASSERT_EQ(back.get_double(), number) << write_json(number);
  }
}

TEST(JsonTextTest, ReadsDoublesOfSixteenDigitsExactly) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 100'000; ++i) {
    const std::string text = std::to_string(random() % 10'000) + '.' + std::to_string(random() % 1'000'000'000'000);
    ASSERT_EQ(read("[" + text + "]").as_array()[0].as_double(), std::strtod(text.c_str(), nullptr)) << text;
  }
  EXPECT_EQ(read("1e999"), json::value(std::numeric_limits<double>::max()));
  EXPECT_EQ(read("-1e999"), json::value(-std::numeric_limits<double>::max()));
  EXPECT_EQ(read("1e-999"), json::value(0.0));
  EXPECT_EQ(read("18446744073709551615"), json::value(std::uint64_t{18446744073709551615U}));
}

TEST(JsonTextTest, StringsAreUtf8WhateverTheyHold) {
  EXPECT_EQ(write_json("a\"b\\c\n\x01\x7f/\xc3\xa4"), "\"a\\\"b\\\\c\\n\\u0001\x7f/\xc3\xa4\"");
  for (const std::string_view bad : {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    const std::string text = write_json(json::object{{"name \xc3\xa4 " + std::string(bad), "v" + std::string(bad)}});
    EXPECT_TRUE(is_utf8(text));
    EXPECT_THAT(text, testing::HasSubstr("\xEF\xBF\xBD"));
    read(text);
  }
}

TEST(JsonTextTest, RandomBytesAreWrittenAsJson) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 50'000; ++i) {
    std::string bytes(random() % 40, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 3 == 0 ? random() : 'a' + random() % 26);
    const std::string text = write_json(json::string(bytes));
    ASSERT_TRUE(is_utf8(text));
    ASSERT_EQ(read(text), json::value(repair_utf8(bytes)));
  }
}

TEST(JsonTextTest, SaysWhereTextIsNotJson) {
  for (const std::string_view text : {"", "{", "[1,]", "01", "1 2", "{\"a\":1}x", "\"\xff\"", "\"\\ud800\"", "nul"}) {
    boost::system::error_code error;
    [[maybe_unused]] const auto value = read_json(text, error);
    EXPECT_TRUE(error) << text;
  }
  boost::system::error_code error;
  [[maybe_unused]] const auto value = read_json(std::string(40, '[') + std::string(40, ']'), error);
  EXPECT_TRUE(error);
}

TEST(JsonTextTest, GivesAMemberAsItStands) {
  EXPECT_EQ(member_text(R"({"a": {"b":[1, "}"]} ,"c":1.10})", "a"), R"({"b":[1, "}"]})");
  EXPECT_EQ(member_text(R"( { "a" : 1.10 } )", "a"), "1.10");
  EXPECT_EQ(member_text(R"({"\u0061":"x\"y"})", "a"), R"("x\"y")");
  EXPECT_EQ(member_text(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(member_text(R"({"b":{"a":1}})", "a"), std::nullopt);
  EXPECT_EQ(member_text("{}", "a"), std::nullopt);
}

TEST(JsonTextTest, SameJsonLooksAtValuesNotAtSpelling) {
  EXPECT_TRUE(same_json(R"({"a":1.10,"b":[1]})", R"({ "b": [1e0], "a": 11e-1 })"));
  EXPECT_TRUE(same_json("0", "-0.0"));
  EXPECT_TRUE(same_json("100", "1e2"));
  EXPECT_FALSE(same_json("12345678901234567890123", "12345678901234567890124"));
  EXPECT_FALSE(same_json(R"(["1"])", "[1]"));
  EXPECT_FALSE(same_json(R"(["1e0"])", "[1]"));
  EXPECT_FALSE(same_json("[1,2]", "[2,1]"));
}

TEST(JsonTextTest, AddsAMember) {
  std::string object = "{}";
  append_member(object, "a", "1.10");
  append_member(object, "b", "[ ]");
  EXPECT_EQ(object, R"({"a":1.10,"b":[ ]})");
}

TEST(JsonTextTest, KnowsNumbers) {
  for (const char* text : {"0", "-0", "1.10", "1e5", "1E+05", "12345678901234567890123"})
    EXPECT_TRUE(is_json_number(text)) << text;
  for (const char* text : {"", "-", "01", "+1", ".5", "1.", "1e", "0x1", "1 ", "nan"})
    EXPECT_FALSE(is_json_number(text)) << text;
}

}  // namespace
}  // namespace appmesh::wire

#include "store/yaml.h"

#include <random>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>

namespace appmesh::store {
namespace {

using testing::HasSubstr;
namespace json = boost::json;

bool nowhere(YamlPath /*path*/) {
  return false;
}

std::string read(std::string_view text) {
  const auto object = parse_yaml(text, nowhere);
  return object ? json::serialize(*object) : "refused: " + object.error().message;
}

TEST(Yaml, UnquotedScalarsHaveTheirTypeAndQuotedOnesAreTexts) {
  EXPECT_EQ(read("a: 1\nb: true\nc: ~\nd: text\ne: -5\nf: 1.5\n"),
            R"({"a":1,"b":true,"c":null,"d":"text","e":-5,"f":1.5E0})");
  EXPECT_EQ(read("a: '1'\nb: \"true\"\nc: 'null'\nd: !!str 7\n"), R"({"a":"1","b":"true","c":"null","d":"7"})");
}

TEST(Yaml, NumbersThatAreNotPlainDecimalStayTexts) {
  EXPECT_EQ(read("a: 0123\nb: 0x1F\nc: 12:30\nd: 1_000\ne: .inf\nf: yes\ng: 99999999999999999999\nh: +\ni: -\n"),
            "refused: line 9: illegal block entry");
  EXPECT_EQ(
      read("a: 0123\nb: 0x1F\nc: 12:30\nd: 1_000\ne: .inf\nf: yes\ng: 99999999999999999999\nh: +\n"),
      R"({"a":"0123","b":"0x1F","c":"12:30","d":"1_000","e":".inf","f":"yes","g":"99999999999999999999","h":"+"})");
}

TEST(Yaml, WhereATextIsWantedNothingIsTakenForANumber) {
  const auto object = parse_yaml("env: {A: 0123, B: true, C: 1.50, D: ''}\nn: 0\n",
                                 [](YamlPath path) { return path.size() == 2 && path[0] == "env"; });
  ASSERT_TRUE(object) << object.error().message;
  EXPECT_EQ(json::serialize(*object), R"({"env":{"A":"0123","B":"true","C":"1.50","D":""},"n":0})");
  const auto empty = parse_yaml("x: 1\nenv:\n  FOO:\n", [](YamlPath path) { return path.size() == 2; });
  EXPECT_THAT(empty.error().message, HasSubstr("env.FOO"));
}

TEST(Yaml, RefusesWhatCouldGrowOrHideAndSaysWhere) {
  EXPECT_THAT(read("a: &x [1]\nb: *x\n"), HasSubstr("line 1: anchors are not allowed"));
  EXPECT_THAT(read("a: 1\nb: !!binary aGk=\n"), HasSubstr("line 2: the tag"));
  EXPECT_THAT(read("a: 1\nb: 2\na: 3\n"), HasSubstr("line 3: the key \"a\" is there twice"));
  EXPECT_THAT(read("a: 1\n---\nb: 2\n"), HasSubstr("more than one document"));
  EXPECT_THAT(read("[a, b]: 1\n"), HasSubstr("a key must be a text"));
  EXPECT_THAT(read("a: [1, 2\n"), HasSubstr("line "));
  EXPECT_THAT(read("- 1\n"), HasSubstr("must be a mapping"));
  EXPECT_THAT(read(""), HasSubstr("must be a mapping"));
  EXPECT_THAT(read("just text"), HasSubstr("must be a mapping"));
  EXPECT_THAT(read("a: \xff\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(read(std::string_view{"a: \0b\n", 6}), HasSubstr("NUL"));
  EXPECT_THAT(read("a: " + std::string(kMaxYamlBytes, 'x')), HasSubstr("larger than"));
}

TEST(Yaml, RefusesWhatIsNestedTooDeepAtOnce) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(read("a: " + deep), HasSubstr("refused"));
  EXPECT_THAT(read("a: " + deep + std::string(100'000, ']')), HasSubstr("nested deeper"));
  std::string fits = "a: ";
  for (int i = 0; i < kMaxYamlDepth - 1; ++i) fits += '[';
  for (int i = 0; i < kMaxYamlDepth - 1; ++i) fits += ']';
  EXPECT_TRUE(parse_yaml(fits, nowhere));
}

TEST(Yaml, ScriptsOfSeveralLinesAreWrittenReadable) {
  EXPECT_EQ(write_yaml({{"command", "set -e\n\nif true; then\n  echo \"hi\" # no comment\nfi\n"}}),
            "command: |\n  set -e\n\n  if true; then\n    echo \"hi\" # no comment\n  fi\n");
  EXPECT_EQ(write_yaml({{"name", "web"}, {"shell", true}, {"env", {{"A", "no"}, {"B", "0123"}, {"C", ""}}}}),
            "name: web\nshell: true\nenv:\n  A: \"no\"\n  B: \"0123\"\n  C: \"\"\n");
}

void expect_same_again(const json::object& object) {
  const std::string text = write_yaml(object);
  const auto again = parse_yaml(text, nowhere);
  ASSERT_TRUE(again) << again.error().message << "\n" << text;
  ASSERT_EQ(json::serialize(*again), json::serialize(object)) << text;
}

TEST(Yaml, AwkwardTextsComeBackTheSame) {
  json::array texts;
  for (const char* text : {"",
                           " ",
                           "~",
                           "null",
                           "true",
                           "0123",
                           "1e5",
                           "-",
                           "- a",
                           "a: b",
                           "a #b",
                           "#",
                           "'",
                           "\"",
                           "\\",
                           "\n",
                           "a\n",
                           "a\nb",
                           "a\n\nb\n",
                           "a\n\n",
                           "\na",
                           " a\nb",
                           "a \nb",
                           "a\n  b\n",
                           "---\n",
                           "a\n---\nb\n",
                           "a\n...\n",
                           "\ta\nb",
                           "a\n\tb\n",
                           "a\rb",
                           "\x01\x7f",
                           "é\nü",
                           "\u0085",
                           "\u2028x\n",
                           "[",
                           "{a",
                           "&x",
                           "*x",
                           "!x",
                           "%a",
                           "@a",
                           "`a",
                           "|",
                           ">",
                           "a:",
                           ":",
                           "?",
                           "? a",
                           "<<",
                           "=",
                           "a\nb \n",
                           "x\n#y\n",
                           "no",
                           "on",
                           "-1",
                           "+1",
                           ".5",
                           "1.",
                           "key: |",
                           "\xEF\xBB\xBF"
                           "bom",
                           "\xF0\x9F\x98\x80"}) {
    texts.push_back(json::string(text));
    expect_same_again(
        {{"k", text}, {text, "v"}, {"list", json::array{text}}, {"in", {{text, json::array{json::array{text}}}}}});
  }
  expect_same_again({{"all", texts}});
  const std::string long_key(5000, 'k');
  expect_same_again({{long_key, {{long_key, 1}}}});
}

TEST(Yaml, NumbersComeBackTheSame) {
  expect_same_again({{"a", 0},
                     {"b", INT64_MIN},
                     {"c", INT64_MAX},
                     {"d", UINT64_MAX},
                     {"e", 1.0},
                     {"f", -0.0},
                     {"g", 1.7976931348623157e308},
                     {"h", 5e-324},
                     {"i", json::object{}},
                     {"j", json::array{}},
                     {"k", json::array{json::object{{"x", json::array{1, 2}}}, nullptr, json::object{}}}});
}

TEST(Yaml, RandomObjectsComeBackTheSame) {
  std::mt19937 random{42};
  const std::string_view alphabet = "ab 01:#-\n\t'\"\\{}[],&*!|>%@`~?.=<\xC3\xA9";
  const auto below = [&](std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); };
  const auto text = [&] {
    std::string made;
    for (std::uint32_t i = below(12); i > 0; --i) {
      const std::uint32_t at = below(static_cast<std::uint32_t>(alphabet.size()) - 1);
      if (at == alphabet.size() - 2) {
        made += "\xC3\xA9";
      } else {
        made += alphabet[at];
      }
    }
    return made;
  };
  const std::function<json::value(int)> value = [&](int depth) -> json::value {
    switch (below(depth > 3 ? 4 : 6)) {
      case 0:
        return json::value(static_cast<std::int64_t>(random()) - 1'000'000'000);
      case 1:
        return json::value(static_cast<double>(random()) / 7);
      case 2:
        return below(2) == 0 ? json::value(below(2) == 0) : json::value(nullptr);
      case 3:
        return json::value(json::string(text()));
      case 4: {
        json::array array;
        for (std::uint32_t i = below(4); i > 0; --i) array.push_back(value(depth + 1));
        return array;
      }
      default: {
        json::object object;
        for (std::uint32_t i = below(4); i > 0; --i) object[text()] = value(depth + 1);
        return object;
      }
    }
  };
  for (int i = 0; i < 3000 && !HasFatalFailure(); ++i) expect_same_again({{"v", value(0)}, {text(), value(0)}});
}

TEST(Yaml, RandomBytesNeverCrash) {
  std::mt19937 random{7};
  const std::string_view alphabet = "ab01: \n\n  -'\"\\{}[],&*!|>%#?~";
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (std::uint32_t n = random() % 40; n > 0; --n) text += alphabet[random() % alphabet.size()];
    (void)parse_yaml(text, nowhere);
  }
}

}  // namespace
}  // namespace appmesh::store

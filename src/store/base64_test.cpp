#include "store/base64.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace appmesh::store {
namespace {

TEST(Base64, WritesAndReadsTheTestVectorsOfTheRfc) {
  // RFC 4648 section 10.
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(to_base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
    const std::string bare = text.substr(0, text.find('='));
    EXPECT_EQ(to_base64(bytes, Base64::bare), bare);
    EXPECT_EQ(from_base64(bare, Base64::bare), bytes);
    EXPECT_EQ(to_base64(bytes, Base64::url), bare);
    EXPECT_EQ(from_base64(bare, Base64::url), bytes);
  }
}

TEST(Base64, TheFormsDifferInTheLastTwoDigitsOfTheAlphabet) {
  const std::string bytes = "\xfb\xff\xfe";
  EXPECT_EQ(to_base64(bytes), "+//+");
  EXPECT_EQ(to_base64(bytes, Base64::bare), "+//+");
  EXPECT_EQ(to_base64(bytes, Base64::url), "-__-");
  EXPECT_EQ(from_base64("-__-", Base64::url), bytes);
  EXPECT_FALSE(from_base64("-__-"));
  EXPECT_FALSE(from_base64("-__-", Base64::bare));
  EXPECT_FALSE(from_base64("+//+", Base64::url));
}

TEST(Base64, EveryByteInEveryPlaceComesBack) {
  for (const Base64 form : {Base64::padded, Base64::bare, Base64::url}) {
    std::string bytes;
    for (int i = 0; i < 3 * 256; ++i) {
      bytes.push_back(static_cast<char>(i * 7));
      EXPECT_EQ(from_base64(to_base64(bytes, form), form), bytes);
    }
  }
}

TEST(Base64, WhatIsNotExactIsRefused) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "=", "====", "Zm9v====", "Zm9v Zm9v", "Zm9v\n", " Zm9v", "Zm=v",
                           "Zm9v!", "Zg==Zg==", "Zm9v\xc3\xa9"}) {
    EXPECT_FALSE(from_base64(text)) << text;
  }
  EXPECT_FALSE(from_base64(std::string_view("Zm9\0", 4)));
  for (const Base64 form : {Base64::bare, Base64::url}) {
    for (const char* text : {"Z", "Zg==", "Zm8=", "Zm9vY"}) EXPECT_FALSE(from_base64(text, form)) << text;
  }
}

TEST(Base64, ALastDigitWithBitsOfNoByteIsRefused) {
  EXPECT_EQ(from_base64("Zg=="), "f");
  EXPECT_FALSE(from_base64("Zh=="));  // the same byte to a lenient reader
  EXPECT_FALSE(from_base64("Zm9="));
  EXPECT_FALSE(from_base64("Zh", Base64::url));
}

}  // namespace
}  // namespace appmesh::store

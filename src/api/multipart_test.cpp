#include "api/multipart.h"

#include <string>

#include <gtest/gtest.h>

namespace appmesh::api {
namespace {

std::string part(const std::string& disposition, const std::string& content) {
  return "--x\r\nContent-Disposition: form-data; " + disposition + "\r\nContent-Type: a/b\r\n\r\n" + content + "\r\n";
}

struct Outcome {
  std::string file;
  std::string error;  // empty: none
};

Outcome parse(const std::string& body, std::size_t step, const std::string& boundary = "x") {
  MultipartParser parser(boundary);
  Outcome outcome;
  for (std::size_t i = 0; i < body.size(); i += step) {
    parser.feed(std::string_view(body).substr(i, step));
    for (;;) {
      const auto data = parser.next();
      if (!data) return {.file = outcome.file, .error = data.error().message};
      if (data->empty()) break;
      outcome.file += *data;
    }
  }
  if (const auto finished = parser.finish(); !finished) outcome.error = finished.error().message;
  return outcome;
}

constexpr std::size_t kSteps[] = {1, 2, 3, 7, 64, 1'000'000};

TEST(Multipart, FindsTheFileHoweverTheBodyIsCut) {
  std::string content = "\r\n--x is not the end\r\n-\r\n--\r\n\r\r\n";
  for (int i = 0; i < 256; ++i) content.push_back(static_cast<char>(i));
  // The boundary of this one is "x1", of which "--x" is only the beginning.
  std::string body = part("name=\"filename\"", "a.txt") + part("name=\"file\"; filename=\"a.txt\"", content) +
                     part("name=other", "z") + "--x--\r\nepilogue";
  for (std::size_t at = 0; (at = body.find("--x\r\n", at)) != std::string::npos; at += 5) body.insert(at + 3, "1");
  body.insert(body.rfind("--x--") + 3, "1");
  for (const std::size_t step : kSteps) {
    const Outcome outcome = parse(body, step, "x1");
    EXPECT_EQ(outcome.error, "") << step;
    EXPECT_EQ(outcome.file, content) << step;
  }
}

TEST(Multipart, AnEmptyFileAndAPartWithoutHeadersAreFine) {
  for (const std::size_t step : kSteps) {
    const Outcome outcome = parse("--x\r\n\r\nnothing\r\n" + part("name=\"file\"", "") + "--x--", step);
    EXPECT_EQ(outcome.error, "") << step;
    EXPECT_EQ(outcome.file, "") << step;
  }
}

TEST(Multipart, APreambleAndBlanksBehindABoundaryAreReadOver) {
  const Outcome outcome =
      parse("preamble\r\n--x \t\r\nContent-Disposition: form-data; name=file\r\n\r\nabc\r\n--x--", 5);
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.file, "abc");
}

TEST(Multipart, MalformedBodiesAreRefusedWithTheReason) {
  const std::string file = part("name=\"file\"", "abc");
  for (const auto& [body, reason] : {
           std::pair<std::string, std::string>{"", "in the middle"},
           {"no boundary at all", "in the middle"},
           {std::string(5000, 'x'), "begins with no boundary"},
           {file, "in the middle"},
           {file + "--x-", "in the middle"},
           {"--x--", "no part 'file'"},
           {part("name=\"other\"", "abc") + "--x--", "no part 'file'"},
           {file + file + "--x--", "two parts 'file'"},
           {"--x!\r\n", "something else than a line break"},
           {"--x\r\nA: " + std::string(20'000, 'a'), "header of a part is too long"},
           {part("name=\"other\"", std::string(70'000, 'a')) + file + "--x--", "beside 'file' are too long"},
       }) {
    for (const std::size_t step : kSteps) {
      EXPECT_NE(parse(body, step).error.find(reason), std::string::npos) << body.substr(0, 100) << " step " << step;
    }
  }
  std::string many;
  for (int i = 0; i < 70; ++i) many += part("name=\"other\"", "");
  EXPECT_NE(parse(many + file + "--x--", 64).error.find("more than 64 parts"), std::string::npos);
}

TEST(Multipart, TheBoundaryComesFromTheContentType) {
  EXPECT_EQ(*multipart_boundary("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(*multipart_boundary("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b;\\\"c\" ; x=y"), "a b;\"c");
  for (const char* bad : {"multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=a",
                          "multipart/form-data; boundary=\"a \"", "multipart/form-data; xboundary=a"}) {
    EXPECT_FALSE(multipart_boundary(bad)) << bad;
  }
  EXPECT_FALSE(multipart_boundary("multipart/form-data; boundary=" + std::string(71, 'a')));
  EXPECT_TRUE(is_multipart("Multipart/mixed"));
  EXPECT_FALSE(is_multipart("application/octet-stream"));
}

}  // namespace
}  // namespace appmesh::api

#include "api/byte_range.h"

#include <gtest/gtest.h>

namespace appmesh::api {
namespace {

void expect_part(const char* header, std::uint64_t size, std::uint64_t offset, std::uint64_t length) {
  const RangeAnswer answer = range_of(header, size);
  EXPECT_EQ(answer.kind, RangeKind::part) << header;
  EXPECT_EQ(answer.range.offset, offset) << header;
  EXPECT_EQ(answer.range.length, length) << header;
}

TEST(ByteRange, OneRangeIsSent) {
  expect_part("bytes=0-0", 10, 0, 1);
  expect_part("bytes=2-5", 10, 2, 4);
  expect_part("bytes=2-", 10, 2, 8);
  expect_part("bytes=-3", 10, 7, 3);
  expect_part("bytes=-30", 10, 0, 10);
  expect_part("bytes=5-99999999999999999999999", 10, 5, 5);
  expect_part("bytes= 1 - 2 ", 10, 1, 2);
}

TEST(ByteRange, WhatIsBehindTheEndIsUnsatisfiable) {
  for (const char* header : {"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"}) {
    EXPECT_EQ(range_of(header, 10).kind, RangeKind::unsatisfiable) << header;
  }
  EXPECT_EQ(range_of("bytes=0-", 0).kind, RangeKind::unsatisfiable);
}

TEST(ByteRange, AnythingElseIsTheWhole) {
  for (const char* header : {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=1-a", "bytes=5-2", "bytes=0-1,4-5",
                             "lines=1-2", "bytes=+1-2", "bytes=--1"}) {
    const RangeAnswer answer = range_of(header, 10);
    EXPECT_EQ(answer.kind, RangeKind::whole) << header;
    EXPECT_EQ(answer.range.length, 10U) << header;
  }
  EXPECT_EQ(range_of(std::nullopt, 10).kind, RangeKind::whole);
}

}  // namespace
}  // namespace appmesh::api

#include "cli/sse_reader.h"

#include <vector>

#include <gtest/gtest.h>

namespace appmesh::cli {
namespace {

TEST(SseReader, EventsAreTheSameHoweverTheyAreCut) {
  const std::string text =
      ": subscribed\n\nid: 7\nevent: START\ndata: {\"a\":1}\n\n: keep-alive\n\nevent: END\r\ndata: x\r\ndata: "
      "y\r\n\r\nid: 9\n\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    std::vector<StreamedEvent> events;
    SseReader reader([&](const StreamedEvent& event) { events.push_back(event); });
    for (std::size_t at = 0; at < text.size(); at += step) reader.feed(std::string_view(text).substr(at, step));
    ASSERT_EQ(events.size(), 2U) << step;
    EXPECT_EQ(events[0].id + events[0].type + events[0].data, "7START{\"a\":1}");
    EXPECT_EQ(events[1].id + events[1].type + events[1].data, "ENDx\ny");
  }
}

}  // namespace
}  // namespace appmesh::cli

#include "event_hub.h"

#include <condition_variable>

#include <appmesh/error.h>
#include <gtest/gtest.h>

namespace appmesh::detail {
namespace {

EventMessage status_event(const std::string& subscription, int sequence) {
  return {.headers = {},
          .body = R"({"event_type":"STATUS","app_name":"app","subscription_id":")" + subscription + R"(","sequence":)" +
                  std::to_string(sequence) + R"(,"data":{}})"};
}

TEST(EventHub, KeepsTheNewestThousandOfEachOf64SubscriptionsThatNobodyReads) {
  EventHub hub;
  std::vector<Subscription> unread;
  for (int i = 0; i < 65; ++i) unread.push_back(hub.attach(std::to_string(i), "app", {}));
  for (int sequence = 1; sequence <= 1100; ++sequence) {
    for (int i = 0; i < 64; ++i) hub.take(status_event(std::to_string(i), sequence));
  }
  hub.take(status_event("64", 1));
  EXPECT_FALSE(unread[0].next(std::chrono::milliseconds{0}));
  EXPECT_EQ(unread[0].lost(), 1100u);
  for (int i = 1; i < 64; ++i) {
    for (unsigned sequence = 101; sequence <= 1100; ++sequence) EXPECT_EQ(unread[i].next()->sequence, sequence);
    EXPECT_FALSE(unread[i].next(std::chrono::milliseconds{0}));
  }
  EXPECT_TRUE(unread[64].next(std::chrono::milliseconds{0}));
}

TEST(EventHub, KeepsMoreForWhoReads) {
  EventHub hub;
  Subscription read = hub.attach("1", "app", {});
  EXPECT_FALSE(read.next(std::chrono::milliseconds{0}));
  for (int sequence = 1; sequence <= 5000; ++sequence) hub.take(status_event("1", sequence));
  for (unsigned sequence = 1; sequence <= 5000; ++sequence) EXPECT_EQ(read.next()->sequence, sequence);
  EXPECT_EQ(read.lost(), 0u);
}

TEST(EventHub, EventsBeforeTheirSubscriptionAreKeptToo) {
  EventHub hub;
  for (int sequence = 1; sequence <= 1001; ++sequence) hub.take(status_event("early", sequence));
  EXPECT_EQ(hub.attach("early", "app", {}).next()->sequence, 2u);
}

TEST(EventHub, ALateCallbackGetsWhatWasKeptInOrderAndTheEnd) {
  EventHub hub;
  Subscription subscription = hub.attach("1", "app", {});
  for (int sequence = 1; sequence <= 10; ++sequence) hub.take(status_event("1", sequence));
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Event> seen;
  const auto note = [&](const Event& event) {
    const std::lock_guard lock(mutex);
    seen.push_back(event);
    changed.notify_one();
  };
  subscription.on_event(note);
  EXPECT_THROW(subscription.on_event(note), ClientError);
  hub.end("the cable");
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return seen.size() == 11; });
  for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(seen[i].sequence, i + 1);
  EXPECT_EQ(seen.back().type, kDisconnectedEvent);
}

TEST(EventHub, NoCallbackIsCalledOnceTheHubIsGone) {
  Subscription subscription;
  {
    EventHub hub;
    subscription = hub.attach("1", "app", {});
    hub.take(status_event("1", 1));
  }
  subscription.on_event([](const Event&) { ADD_FAILURE() << "the client is gone"; });
  EXPECT_FALSE(subscription.next());
}

}  // namespace
}  // namespace appmesh::detail

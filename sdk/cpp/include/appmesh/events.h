// Events of apps, as a subscription brings them: in order, to a callback on a thread of its own, or one by one with
// next(). A Subscription is a handle: copies are the same subscription. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/json/object.hpp>

namespace appmesh {

// Ends every subscription whose connection has ended; data.reason says why.
inline constexpr const char* kDisconnectedEvent = "__disconnected__";

struct Event {
  std::string type;  // START, EXIT, STDOUT, HEALTH, STATUS, REMOVED, or kDisconnectedEvent
  std::string app_name;
  std::string subscription_id;
  std::int64_t timestamp = 0;  // epoch seconds
  std::uint64_t sequence = 0;  // rises
  boost::json::object data;
};

// Runs on the subscription's own thread, one event after another; what it throws is dropped. It may call the client,
// but not destroy it.
using EventCallback = std::function<void(const Event&)>;

class Subscription {
 public:
  class State;
  Subscription() = default;
  explicit Subscription(std::shared_ptr<State> state) : state_(std::move(state)) {}

  [[nodiscard]] const std::string& id() const;
  [[nodiscard]] const std::string& app_name() const;
  // Gives a callback to a subscription that was made without one; the events kept for it come first. Until then, or
  // until the first next(), the newest 1000 events are kept, for at most 64 such subscriptions. kUsage when it has one.
  void on_event(EventCallback callback);
  // The next event of a subscription without callback; nothing when none came in time, or the subscription is over.
  std::optional<Event> next(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Events that were dropped because they were not taken fast enough.
  [[nodiscard]] std::uint64_t lost() const;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace appmesh

// The subscriptions of one client: who gets which event. Owned by Client; any thread.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include <appmesh/events.h>
#include <appmesh/transport.h>

namespace appmesh::detail {

class EventHub {
 public:
  ~EventHub() { close(); }

  // From now on events of this subscription go there; the ones that came too early are the first.
  Subscription attach(const std::string& id, const std::string& app_name, EventCallback callback);
  void detach(const std::string& id);

  // From the thread that reads the connection: never waits.
  void take(const EventMessage& message);
  // The connection has ended, and every subscription with it.
  void end(const std::string& reason);
  // No more events; waits for callbacks that run.
  void close();

 private:
  using StatePtr = std::shared_ptr<Subscription::State>;
  void deliver(Event event);
  // Both under mutex_.
  void drop_idle();
  void keep_unread(const StatePtr& state);

  std::mutex mutex_;
  std::unordered_map<std::string, StatePtr> subscriptions_;
  std::list<StatePtr> over_;  // their threads may still run
  // Events that nobody has claimed yet: the answer to a subscription may come after its first events.
  std::unordered_map<std::string, std::deque<Event>> unclaimed_;
  std::deque<std::string> unclaimed_order_;  // oldest first
  std::deque<StatePtr> unread_;              // have events that nobody has asked for; oldest first
};

}  // namespace appmesh::detail

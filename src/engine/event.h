// What happened to apps, as it is told to subscribers (docs/wire.md#events), and whom it is told to. The
// room that knows connections implements EventSink. An Event is immutable and shared: a thousand subscribers hold one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/app_definition.h"
#include "core/error.h"

namespace appmesh::engine {

enum class EventKind : std::uint8_t { start, exit, output, health, status, removed };
inline constexpr std::size_t kEventKinds = 6;

class EventMask {
 public:
  [[nodiscard]] static EventMask all() { return EventMask((1U << kEventKinds) - 1); }
  // A comma list of START, EXIT, STDOUT, HEALTH, STATUS, REMOVED, ALL; empty: all. Unknown names are passed over;
  // invalid_argument when nothing is left.
  [[nodiscard]] static Result<EventMask> parse(std::string_view list);

  [[nodiscard]] bool has(EventKind kind) const { return (bits_ >> static_cast<unsigned>(kind) & 1U) != 0; }
  [[nodiscard]] std::vector<std::string_view> names() const;

 private:
  explicit EventMask(std::uint32_t bits) : bits_(bits) {}
  std::uint32_t bits_;
};

[[nodiscard]] std::string_view to_string(EventKind kind);  // as on the wire

struct Event {
  EventKind kind = EventKind::start;
  std::uint64_t sequence = 0;
  std::shared_ptr<const core::AppDefinition> app;  // as it was then: who may see it
  // The members of the JSON object, without its opening brace: `"event_type":"START", … }`. A subscriber's own member
  // goes before it.
  std::string members;
};
using EventPtr = std::shared_ptr<const Event>;

class EventSink {
 public:
  virtual ~EventSink() = default;

  // All on the engine thread; none may wait.
  // False: nothing more can be told here, and every subscription of the sink ends.
  virtual bool take(const EventPtr& event, const std::string& subscription) = 0;
  // It has been told more than it has passed on. Output is read more slowly while this is so for all who follow it.
  [[nodiscard]] virtual bool is_behind() const = 0;
  [[nodiscard]] virtual bool is_open() const = 0;
  // The subscription was the app's and has ended with it.
  virtual void ended(const std::string& subscription) = 0;
};

struct Subscription {
  std::string id;    // made by whoever asks, unguessable
  std::string app;   // empty: all apps
  std::string user;  // who may end it
  EventMask mask = EventMask::all();
  std::shared_ptr<EventSink> sink;
  std::shared_ptr<void> hold;  // dropped with it
};

}  // namespace appmesh::engine

// Who is told what happens to apps, and the order in which they are told. Owned by the engine and used only on its
// thread. While nobody subscribes it costs a look at two empty tables per event, and no output is read.
//
// Every run is told as START < STDOUT… < EXIT. Its output is read from its file in pieces; when the run is gone, what
// is left of it is told before its EXIT, and whatever happens to the app meanwhile waits behind that.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>

#include "core/lifecycle.h"
#include "engine/event.h"
#include "engine/output_watch.h"
#include "engine/timers.h"
#include "runtime/output_files.h"
#include "runtime/run_id.h"

namespace appmesh::engine {

// An app, or one instance of it (core/instance_name.h), at one moment. The generation, that of the app for all of its
// instances, tells it from another of the same name. Each instance has an order of its own.
struct EventApp {
  std::shared_ptr<const core::AppDefinition> definition;
  std::uint64_t generation = 0;
  [[nodiscard]] const std::string& name() const { return definition->name; }
};

struct EventRun {
  runtime::RunId id;
  core::RunNumber number = 0;
};

class EventHub {
 public:
  struct Limits {
    std::size_t subscriptions = 20'000;
    std::size_t of_one_sink = 2'000;
    std::uint64_t piece_bytes = 256ULL * 1024;  // of one STDOUT event
    std::chrono::milliseconds coalesce{200};    // how long output may wait for more of it
    std::chrono::milliseconds pace{10};         // between two looks whether the followers have caught up
    std::size_t waiting = 1'000;                // events behind the end of a run; then nobody is waited for
  };
  // What the engine knows: apps, and the runs of one that have started and are not gone.
  struct Directory {
    std::function<std::vector<EventApp>()> apps;
    std::function<std::optional<EventApp>(const std::string& name)> app;
    std::function<std::vector<EventRun>(const std::string& name)> runs;
  };

  EventHub(boost::asio::io_context& context, Timers& timers, OutputWatch& watch, const runtime::OutputFiles& outputs,
           Directory directory, Limits limits);
  EventHub(boost::asio::io_context& context, Timers& timers, OutputWatch& watch, const runtime::OutputFiles& outputs,
           Directory directory)
      : EventHub(context, timers, watch, outputs, std::move(directory), Limits()) {}

  ~EventHub();
  EventHub(const EventHub&) = delete;
  EventHub& operator=(const EventHub&) = delete;

  // From now on; nothing older is told. Errors: not_found without the app, unavailable when there are too many.
  Result<> subscribe(Subscription subscription);
  // False: this user has no such subscription.
  bool unsubscribe(const std::string& id, const std::string& user);
  // The connection behind it has ended.
  void drop(const EventSink* sink);
  [[nodiscard]] std::size_t subscriptions() const { return by_id_.size(); }

  void started(const EventApp& app, const EventRun& run, boost::json::object data);
  // No process of it is left and its output is whole. `exit` is what its EXIT says; none for a run without one.
  void gone(const EventApp& app, const EventRun& run, std::optional<boost::json::object> exit);
  void tell(const EventApp& app, EventKind kind, boost::json::object data);
  void removed(const EventApp& app);
  // One instance of an app is no more, which nobody is told: its output is not followed any longer.
  void instance_removed(const std::string& key);

 private:
  struct Member;
  struct Follow;
  struct Channel;
  using MemberPtr = std::shared_ptr<Member>;

  [[nodiscard]] bool concerns_nobody(const std::string& app) const;
  [[nodiscard]] bool is_followed(const std::string& app) const;
  [[nodiscard]] bool all_behind(const std::string& app) const;
  [[nodiscard]] Follow* find(const std::string& app, const runtime::RunId& run, std::uint64_t token);
  [[nodiscard]] const std::vector<MemberPtr>* members_of(const std::string& app) const;  // null: none
  void emit(const EventApp& app, EventKind kind, boost::json::object data);
  void end(const MemberPtr& member);
  void forget_if_idle(const std::string& app);

  // Now, or after the end of the run that is being told.
  void in_order(const std::string& app, std::move_only_function<void()> action);
  void settle(const std::string& app);

  void follow_live_runs(const EventApp& app);
  void follow(const EventApp& app, const EventRun& run, std::uint64_t position);
  void pump(const std::string& app, const runtime::RunId& run, std::uint64_t token);
  void pump_soon(const std::string& app, const Follow& follow);
  void wait_for_output(const std::string& app, Follow& follow);
  void output_arrived(const std::string& app, const runtime::RunId& run, std::uint64_t token);
  void finish(const std::string& app, const runtime::RunId& run, std::optional<boost::json::object> exit,
              platform::UniqueFd file);
  [[nodiscard]] std::uint64_t joining_position(const std::string& app, const EventRun& run) const;

  boost::asio::io_context& context_;
  Timers& timers_;
  OutputWatch& watch_;
  const runtime::OutputFiles& outputs_;
  Directory directory_;
  Limits limits_;
  std::unordered_map<std::string, MemberPtr> by_id_;
  std::unordered_map<const EventSink*, std::size_t> by_sink_;  // how many subscriptions
  std::vector<MemberPtr> wildcards_;
  std::unordered_map<std::string, std::unique_ptr<Channel>> channels_;  // by app: subscriptions and followed runs
  std::uint64_t sequence_ = 0;
  std::uint64_t last_token_ = 0;
};

}  // namespace appmesh::engine

// The subscriptions and the order of events; what is read of outputs is in event_output.cpp.
#include "engine/event_hub.h"

#include <algorithm>
#include <utility>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "core/instance_name.h"
#include "engine/event_channel.h"
#include "platform/clock.h"

namespace appmesh::engine {

EventHub::EventHub(boost::asio::io_context& context, Timers& timers, OutputWatch& watch,
                   const runtime::OutputFiles& outputs, Directory directory, Limits limits)
    : context_(context),
      timers_(timers),
      watch_(watch),
      outputs_(outputs),
      directory_(std::move(directory)),
      limits_(limits) {}

EventHub::~EventHub() = default;

// ---- subscriptions
// ------------------------------------------------------------------------------------------------------

Result<> EventHub::subscribe(Subscription subscription) {
  if (!subscription.sink->is_open()) return fail(ErrorKind::unavailable, "The connection has ended");
  if (by_id_.size() >= limits_.subscriptions)
    return fail(ErrorKind::unavailable, fmt::format("no more than {} subscriptions", limits_.subscriptions));
  const auto of_sink = by_sink_.find(subscription.sink.get());
  if (of_sink != by_sink_.end() && of_sink->second >= limits_.of_one_sink)
    return fail(ErrorKind::unavailable, fmt::format("no more than {} subscriptions a connection", limits_.of_one_sink));

  auto member = std::make_shared<Member>();
  member->subscription = std::move(subscription);
  const Subscription& wanted = member->subscription;
  std::vector<EventApp> apps;
  if (wanted.app.empty()) {
    if (wanted.mask.has(EventKind::output)) apps = directory_.apps();
  } else {
    auto app = directory_.app(wanted.app);
    if (!app) return fail(ErrorKind::not_found, fmt::format("No such application <{}> found", wanted.app));
    member->generation = app->generation;
    for (std::uint32_t k = 1; k < app->definition->instances; ++k)
      if (auto instance = directory_.app(core::instance_key(wanted.app, k))) apps.push_back(std::move(*instance));
    apps.push_back(std::move(*app));
  }
  // Before it is a member: what others have not been told yet is older than this subscription.
  if (wanted.mask.has(EventKind::output))
    for (const EventApp& app : apps) follow_live_runs(app);

  by_id_.emplace(wanted.id, member);
  ++by_sink_[wanted.sink.get()];
  if (wanted.app.empty()) {
    wildcards_.push_back(member);
  } else {
    auto& channel = channels_[wanted.app];
    if (!channel) channel = std::make_unique<Channel>();
    channel->members.push_back(member);
  }
  return {};
}

bool EventHub::unsubscribe(const std::string& id, const std::string& user) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || found->second->subscription.user != user) return false;
  end(MemberPtr(found->second));
  return true;
}

void EventHub::drop(const EventSink* sink) {
  std::vector<MemberPtr> lost;
  for (const auto& [id, member] : by_id_)
    if (member->subscription.sink.get() == sink) lost.push_back(member);
  for (const auto& member : lost) end(member);
}

void EventHub::end(const MemberPtr& member) {
  const Subscription& ended = member->subscription;
  if (by_id_.erase(ended.id) == 0) return;
  member->over = true;
  const auto of_sink = by_sink_.find(ended.sink.get());
  if (--of_sink->second == 0) by_sink_.erase(of_sink);
  if (ended.app.empty()) {
    std::erase(wildcards_, member);
    return;
  }
  const auto channel = channels_.find(ended.app);
  if (channel == channels_.end()) return;
  std::erase(channel->second->members, member);
  forget_if_idle(ended.app);
}

// Runs that nobody follows any more are given up by their next pump().
void EventHub::forget_if_idle(const std::string& app) {
  const auto channel = channels_.find(app);
  if (channel == channels_.end()) return;
  const Channel& idle = *channel->second;
  if (idle.members.empty() && idle.follows.empty() && idle.waiting.empty() && !idle.busy) channels_.erase(channel);
}

bool EventHub::concerns_nobody(const std::string& app) const {
  return wildcards_.empty() && members_of(app) == nullptr && !channels_.contains(app);
}

// Subscriptions are to the app: those of an instance are in the channel of instance 0.
const std::vector<EventHub::MemberPtr>* EventHub::members_of(const std::string& app) const {
  const auto channel = channels_.find(std::string(core::split_instance(app).app));
  return channel == channels_.end() ? nullptr : &channel->second->members;
}

bool EventHub::is_followed(const std::string& app) const {
  const auto follows = [](const MemberPtr& member) { return member->subscription.mask.has(EventKind::output); };
  const auto* members = members_of(app);
  return std::ranges::any_of(wildcards_, follows) || (members != nullptr && std::ranges::any_of(*members, follows));
}

bool EventHub::all_behind(const std::string& app) const {
  const auto keeps_up = [](const MemberPtr& member) {
    return member->subscription.mask.has(EventKind::output) && !member->subscription.sink->is_behind();
  };
  const auto* members = members_of(app);
  return std::ranges::none_of(wildcards_, keeps_up) && (members == nullptr || std::ranges::none_of(*members, keeps_up));
}

// ---- telling
// ------------------------------------------------------------------------------------------------------------

void EventHub::emit(const EventApp& app, EventKind kind, boost::json::object data) {
  const auto [public_name, instance] = core::split_instance(app.name());
  if (app.definition->instances > 1 && kind != EventKind::removed) data["instance"] = instance;
  std::vector<MemberPtr> receivers;
  const auto wants = [&](const MemberPtr& member) {
    return member->subscription.mask.has(kind) && (member->generation == 0 || member->generation == app.generation);
  };
  std::ranges::copy_if(wildcards_, std::back_inserter(receivers), wants);
  if (const auto* members = members_of(app.name()))
    std::ranges::copy_if(*members, std::back_inserter(receivers), wants);
  if (receivers.empty()) return;

  auto event = std::make_shared<Event>();
  event->kind = kind;
  event->sequence = ++sequence_;
  event->app = app.definition;
  event->members =
      fmt::format(R"("event_type":"{}","app_name":"{}","timestamp":{},"sequence":{},"data":{}}})", to_string(kind),
                  public_name, core::epoch_seconds(platform::wall_now()), event->sequence, wire::write_json(data));
  const EventPtr shared = std::move(event);
  std::vector<const EventSink*> full;
  for (const MemberPtr& member : receivers)
    if (!member->over && !member->subscription.sink->take(shared, member->subscription.id))
      full.push_back(member->subscription.sink.get());
  for (const EventSink* sink : full) drop(sink);
}

void EventHub::in_order(const std::string& app, std::move_only_function<void()> action) {
  const auto channel = channels_.find(app);
  if (channel == channels_.end() || !channel->second->busy) return action();
  channel->second->waiting.push_back(std::move(action));
}

// The run that was being told has been told.
void EventHub::settle(const std::string& app) {
  for (;;) {
    const auto channel = channels_.find(app);
    if (channel == channels_.end() || channel->second->busy || channel->second->waiting.empty()) break;
    auto next = std::move(channel->second->waiting.front());
    channel->second->waiting.pop_front();
    next();
  }
  forget_if_idle(app);
}

void EventHub::tell(const EventApp& app, EventKind kind, boost::json::object data) {
  if (concerns_nobody(app.name())) return;
  in_order(app.name(), [this, app, kind, data = std::move(data)] { emit(app, kind, data); });
}

void EventHub::started(const EventApp& app, const EventRun& run, boost::json::object data) {
  if (concerns_nobody(app.name())) return;
  in_order(app.name(), [this, app, run, data = std::move(data)] {
    emit(app, EventKind::start, data);
    if (is_followed(app.name())) follow(app, run, 0);
  });
}

void EventHub::gone(const EventApp& app, const EventRun& run, std::optional<boost::json::object> exit) {
  if (concerns_nobody(app.name())) return;
  // Now, as the file may be removed before its turn comes.
  platform::UniqueFd file;
  if (is_followed(app.name()))
    if (auto opened = outputs_.open_for_reading(app.name(), run.number)) file = std::move(*opened);
  in_order(app.name(), [this, app, run, exit = std::move(exit), file = std::move(file)]() mutable {
    const auto channel = channels_.find(app.name());
    if (channel != channels_.end() && channel->second->follows.contains(run.id))
      finish(app.name(), run.id, std::move(exit), std::move(file));
    else if (exit)
      emit(app, EventKind::exit, *exit);
  });
}

void EventHub::removed(const EventApp& app) {
  if (concerns_nobody(app.name())) return;
  in_order(app.name(), [this, app] {
    if (const auto channel = channels_.find(app.name()); channel != channels_.end())
      std::erase_if(channel->second->follows,
                    [&](const auto& follow) { return follow.second->app.generation == app.generation; });
    emit(app, EventKind::removed, {});
    const auto channel = channels_.find(app.name());
    if (channel == channels_.end()) return;
    for (const MemberPtr& member : std::vector<MemberPtr>(channel->second->members)) {
      if (member->generation != app.generation) continue;
      end(member);
      member->subscription.sink->ended(member->subscription.id);
    }
    forget_if_idle(app.name());
  });
}

void EventHub::instance_removed(const std::string& key) {
  if (!channels_.contains(key)) return;
  in_order(key, [this, key] {
    if (const auto channel = channels_.find(key); channel != channels_.end()) channel->second->follows.clear();
    forget_if_idle(key);
  });
}

}  // namespace appmesh::engine

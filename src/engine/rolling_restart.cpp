// Rolling restart (docs/wire.md#own-fields): the instances of an app are restarted one after the other, the next one
// only when the one before is ready. It stops at the first that does not get there, and says so. Whose turn is still to
// come is part of each instance's saved state, so a new daemon goes on where an earlier one died, and one that has
// restarted by itself meanwhile has had its turn.
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/engine.h"

namespace appmesh::engine {

namespace {

constexpr std::chrono::seconds kPatience{120};  // of instances whose readiness has no time limit of its own
constexpr std::chrono::seconds kMargin{10};     // beyond the limits that the core watches itself

}  // namespace

// Instance 0 and others alike: with a single one it is an ordinary restart.
void Engine::restart(App& app) {
  const App* first = instance_of(app.public_name(), 0);
  if (first == nullptr || first->instance_count == 1) return feed(app, core::event::RestartRequested{});
  app.restart_past = app.state.last_run;
  save_state(app);
  roll(app.public_name());
}

// One that is under way sees what was added; when all are to have their turn it begins anew.
void Engine::roll(const std::string& name, bool all) {
  const auto [turn, added] = rolls_.try_emplace(name);
  if (!added && !all) return;
  timers_.cancel(std::exchange(turn->second.timer, 0));
  if (App* first = instance_of(name, 0)) {
    first->roll_stopped.clear();
    publish(*first);
  }
  boost::asio::post(context_, [this, name] { roll_next(name); });
}

void Engine::roll_next(const std::string& name) {
  const auto found = rolls_.find(name);
  if (found == rolls_.end() || found->second.timer != 0) return;
  App* next = nullptr;
  for_each_instance(name, [&](App& app) {
    if (next == nullptr && app.restart_past) next = &app;
  });
  if (next == nullptr || next->state.status != core::AppStatus::enabled) return end_roll(name);
  if (!next->state.waiting_for.empty())
    return stop_roll(name, fmt::format("instance {} would have to wait for other applications", next->instance));

  const core::AppDefinition& definition = *next->state.definition;
  const auto grace = std::max(options_.policy.stop_grace,
                              definition.retention ? definition.retention->value : std::chrono::seconds(0));
  const auto own_limit = definition.readiness ? definition.readiness->timeout_seconds : 0;
  const auto patience = own_limit > 0 ? std::chrono::seconds(own_limit) : kPatience;
  Roll& turn = found->second;
  turn.instance = next->instance;
  turn.asked = false;
  turn.timer = timers_.after(grace + patience + kMargin, [this, name, instance = next->instance] {
    stop_roll(name, fmt::format("instance {} was not ready in time", instance));
  });
  roll_on(*next);
}

// Called after everything that may have changed an instance.
void Engine::roll_on(App& app) {
  if (rolls_.empty()) return;
  const std::string name = app.public_name();
  const auto found = rolls_.find(name);
  if (found == rolls_.end() || found->second.timer == 0 || found->second.instance != app.instance) return;
  const core::LifecycleState& state = app.state;
  if (state.status != core::AppStatus::enabled) return end_roll(name);
  const bool is_new = app.restart_past && state.last_run > *app.restart_past;
  if (!is_new && !found->second.asked) {
    if (state.phase == core::Phase::starting) return;  // with what it was before: it can be stopped when it runs
    found->second.asked = true;
    return feed(app, core::event::RestartRequested{});
  }
  const bool rests =
      state.phase == core::Phase::idle || state.phase == core::Phase::waiting || state.phase == core::Phase::blocked;
  const bool ends = state.phase == core::Phase::stopping || state.phase == core::Phase::draining;
  const bool failed = is_new ? rests || ends : state.phase == core::Phase::blocked;
  if (failed) {
    const std::string text = fmt::format("instance {}: {}", app.instance, state.last_error().text);
    timers_.cancel(std::exchange(found->second.timer, 0));
    return boost::asio::post(context_, [this, name, text] { stop_roll(name, text); });
  }
  // A window that is closed lets nothing start: it will be a new process when it opens.
  const bool done = is_new ? state.phase == core::Phase::running && state.ready : rests;
  if (!done) return;
  app.restart_past.reset();
  save_state(app);
  timers_.cancel(std::exchange(found->second.timer, 0));
  boost::asio::post(context_, [this, name] { roll_next(name); });
}

void Engine::stop_roll(const std::string& name, const std::string& why) {
  if (!rolls_.contains(name)) return;
  if (App* first = instance_of(name, 0)) first->roll_stopped = why;
  end_roll(name);
  const std::string text = "rolling restart stopped: " + why;
  spdlog::warn("{}: {}", name, text);
  if (App* first = instance_of(name, 0)) feed(*first, core::event::Remarked{text});
}

void Engine::end_roll(const std::string& name) {
  const auto found = rolls_.find(name);
  if (found == rolls_.end()) return;
  timers_.cancel(found->second.timer);
  rolls_.erase(found);
  for_each_instance(name, [&](App& app) {
    if (std::exchange(app.restart_past, std::nullopt)) save_state(app);
  });
  if (App* first = instance_of(name, 0)) publish(*first);
}

// After a recovery.
void Engine::resume_rolls() {
  std::vector<std::string> names;
  for (const auto& [name, app] : apps_)
    if (app->restart_past) names.push_back(app->public_name());
  for (const auto& name : names) {
    App* first = instance_of(name, 0);
    if (first == nullptr || first->placeholder) continue;
    first->instance_count > 1 ? roll(name) : carry_out_restart(*first);
  }
}

}  // namespace appmesh::engine

// The part of the engine that knows whether the apps that another one depends on are there (docs/wire.md#own-fields).
// What waits is told at the change that ends its waiting; nothing looks again and again.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/app.h"
#include "engine/engine.h"

namespace appmesh::engine {

namespace {

bool holds(const core::LifecycleState& state, core::DependencyCondition condition) {
  const bool runs = state.phase == core::Phase::running;
  switch (condition) {
    case core::DependencyCondition::started:
      return runs;
    case core::DependencyCondition::ready:
      return runs && state.ready;
    case core::DependencyCondition::healthy:
      return runs && state.healthy;
    case core::DependencyCondition::completed:
      return state.current_run == 0 && state.return_code == 0 && state.exit_known;
  }
  return false;
}

}  // namespace

// Errors name the path. Whoever is registered may be depended on; on-demand runs come and go.
Result<void> Engine::check_dependencies(const core::AppDefinition& definition) const {
  for (const auto& [name, condition] : definition.depends_on) {
    const auto found = apps_.find(name);
    if (found == apps_.end() || found->second->state.on_demand)
      return fail(ErrorKind::invalid_argument,
                  fmt::format("field 'depends_on': {} -> {}: no such application", definition.name, name));
  }
  if (const auto cycle = dependencies_.find_cycle(definition.name, definition.depends_on))
    return fail(ErrorKind::invalid_argument, fmt::format("field 'depends_on': a cycle: {}", fmt::join(*cycle, " -> ")));
  return {};
}

core::UnmetDependencies Engine::unmet_dependencies(const core::AppDefinition& definition) const {
  core::UnmetDependencies unmet;
  for (const auto& [name, condition] : definition.depends_on) {
    const auto found = apps_.find(name);
    const bool known = found != apps_.end() && !found->second->state.on_demand;
    bool all_hold = known;
    for (std::uint32_t k = 0; all_hold && k < found->second->instance_count; ++k) {
      const auto instance = apps_.find(core::instance_key(name, k));
      all_hold = instance != apps_.end() && holds(instance->second->state, condition);
    }
    if (!all_hold) unmet[name] = {.condition = condition, .unknown = !known};
  }
  return unmet;
}

// What was to be written was not.
void Engine::restore_dependencies(const std::string& name) {
  const auto found = apps_.find(name);
  const bool registered = found != apps_.end() && !found->second->state.on_demand;
  dependencies_.set(name, registered ? found->second->state.definition->depends_on : DependencyGraph::Wishes{});
}

// Called after everything that may have changed the app, and when it is gone.
void Engine::tell_dependants(const std::string& name) {
  if (recovering_ || !dependencies_.has_dependants(name)) return;
  for (const auto& dependant : dependencies_.dependants_of(name)) {
    for_each_instance(dependant, [&](App& app) {
      if (app.state.on_demand) return;
      auto unmet = unmet_dependencies(*app.state.definition);
      if (unmet != app.state.waiting_for) feed(app, core::event::DependenciesChanged{std::move(unmet)});
    });
  }
}

// Before the first app is recovered nothing is known to be there, and nothing may start on a guess.
void Engine::expect_dependencies() {
  recovering_ = true;
  for (auto& [name, app] : apps_) {
    if (app->state.on_demand) continue;
    for (const auto& [other, condition] : app->state.definition->depends_on)
      app->state.waiting_for[other] = {.condition = condition, .unknown = !apps_.contains(other)};
  }
}

void Engine::settle_dependencies() {
  recovering_ = false;
  std::vector<std::string> waiting;
  for (const auto& [name, app] : apps_)
    if (!app->state.waiting_for.empty()) waiting.push_back(name);
  for (const auto& name : waiting) {
    const auto found = apps_.find(name);
    if (found == apps_.end()) continue;
    feed(*found->second, core::event::DependenciesChanged{unmet_dependencies(*found->second->state.definition)});
  }
}

}  // namespace appmesh::engine

// Instances of an app (docs/wire.md#own-fields): every one beyond the first is an app of its own inside the engine, so
// the core and all that carries its effects out are about one run as ever. What concerns them all is here.
#include <algorithm>
#include <utility>

#include "engine/app.h"
#include "engine/engine.h"

namespace appmesh::engine {

std::shared_ptr<const core::AppDefinition> definition_of(const std::shared_ptr<const core::AppDefinition>& shared,
                                                         std::uint32_t instance) {
  if (instance == 0) return shared;
  auto own = std::make_shared<core::AppDefinition>(*shared);
  own->name = core::instance_key(shared->name, instance);
  return own;
}

Engine::App* Engine::instance_of(const std::string& name, std::uint32_t instance) {
  const auto found = apps_.find(core::instance_key(name, instance));
  return found == apps_.end() ? nullptr : found->second.get();
}

// The action may delete apps.
void Engine::for_each_instance(const std::string& name, const std::function<void(App&)>& action) {
  const App* first = instance_of(name, 0);
  if (first == nullptr) return;
  const std::uint32_t count = first->instance_count;
  for (std::uint32_t k = 0; k < count; ++k)
    if (App* app = instance_of(name, k)) action(*app);
}

Engine::App& Engine::add_instance(const App& first, std::uint32_t instance) {
  App& app = add_app(definition_of(first.state.definition, instance));
  app.instance = instance;
  app.tasks = first.tasks;  // callers do not choose a process, the queue does
  return app;
}

// After a PUT: more of them, or fewer; the others do not notice.
void Engine::scale(const std::string& name) {
  App* first = instance_of(name, 0);
  if (first == nullptr || first->state.on_demand) return;
  const std::uint32_t wanted = first->state.definition->instances;
  const std::uint32_t before = std::exchange(first->instance_count, wanted);
  for (std::uint32_t k = before; k < wanted; ++k) {
    App& added = add_instance(*first, k);
    feed(added, core::event::Defined{unmet_dependencies(*added.state.definition)});
  }
  for (std::uint32_t k = wanted; k < before; ++k)
    if (App* surplus = instance_of(name, k)) feed(*surplus, core::event::Removed{});
  if (App* still = instance_of(name, 0); still != nullptr && before != wanted) publish(*still);
}

// A changed definition for all; what needs a new process gets it one after the other.
void Engine::redefine(const std::string& name, const std::shared_ptr<const core::AppDefinition>& definition) {
  const App* first = instance_of(name, 0);
  if (first == nullptr) return;
  const bool rolls = first->instance_count > 1 && core::needs_restart(*first->state.definition, *definition);
  for_each_instance(name, [&](App& app) {
    if (app.instance >= definition->instances) return;  // scale() ends it
    const core::Phase phase = app.state.phase;
    if (rolls) app.restart_past.reset();
    if (rolls && phase >= core::Phase::starting && phase <= core::Phase::draining) {
      app.restart_past = app.state.last_run;
      save_state(app);
    }
    app.copy_is_due = true;
    feed(app, core::event::Redefined{definition_of(definition, app.instance), unmet_dependencies(*definition), rolls});
  });
  for_each_instance(name, [&](App& app) { settle_limits(app); });
  scale(name);
  if (rolls) roll(name, true);
}

// The app is gone: so are its instances. One that its exit policy removed takes the whole app with it.
void Engine::instance_deleted(const std::string& name, std::uint32_t instance, std::uint32_t count) {
  for (std::uint32_t k = 1; instance == 0 && k < count; ++k)
    if (App* other = instance_of(name, k)) feed(*other, core::event::Removed{});
  App* first = instance == 0 ? nullptr : instance_of(name, 0);
  if (first != nullptr && instance < first->instance_count) feed(*first, core::event::Removed{});
}

}  // namespace appmesh::engine

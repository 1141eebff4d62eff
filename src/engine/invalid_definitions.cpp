// Apps whose definition cannot be read, or is refused: it was not deleted, so nothing of them is. With the last good
// definition, which lies beside the state, an app goes on as ever. Without one (its file was never good, or the row is
// from an older version) it is a placeholder: what runs is watched, and nothing else happens. Either is `invalid` until
// its file is mended, a PUT writes a good one or a DELETE removes it.
#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/engine.h"
#include "platform/clock.h"

namespace appmesh::engine {

namespace {

// Whose app it is stands in the definition, so none but the administrator may touch it.
constexpr std::string_view kUnknownOwner = "admin";
constexpr std::uint32_t kNobodyElse = 11;

bool is_live(const core::LifecycleState& state) {
  return state.phase >= core::Phase::starting && state.phase <= core::Phase::draining;
}

}  // namespace

void Engine::load_invalid(const std::string& name, InvalidDefinition invalid, const SavedRows& rows) {
  auto shared = std::make_shared<const InvalidDefinition>(std::move(invalid));
  const auto found = rows.find(name);
  const SavedRow* row = found == rows.end() || found->second.on_demand ? nullptr : &found->second;
  if (row != nullptr && !row->saved.definition.empty()) {
    if (auto known = definitions_.from_copy(row->saved.definition)) {
      // Its status is that of the state: enable and disable do not write the copy.
      core::LifecycleState state;
      if (core::load_state(state, *row->state, platform::now())) known->status = state.status;
      known->name = name;
      return load_registered(std::make_shared<const core::AppDefinition>(std::move(*known)), rows, std::move(shared));
    }
  }
  App& app = add_placeholder(name, std::move(shared));
  if (row != nullptr) take_saved_state(app, row->saved.state);
}

Engine::App& Engine::add_placeholder(const std::string& key, std::shared_ptr<const InvalidDefinition> invalid) {
  core::AppDefinition nothing;
  nothing.name = key;
  nothing.owner = kUnknownOwner;
  nothing.permission = kNobodyElse;
  App& app = add_app(std::make_shared<const core::AppDefinition>(std::move(nothing)));
  app.instance = core::split_instance(key).instance;
  app.placeholder = true;
  app.invalid = std::move(invalid);
  app.invalid_since = platform::wall_now();
  return app;
}

// Nobody can tell that it belongs to an app that was deleted.
bool Engine::may_be_of_unread(const std::string& key) const {
  if (unread_folder_ != nullptr) return true;
  const auto app = apps_.find(std::string(core::split_instance(key).app));
  return app != apps_.end() && app->second->placeholder;
}

// A run was found whose app may be one that could not be read.
void Engine::adopt_unread(const std::string& key) {
  if (apps_.contains(key) || !may_be_of_unread(key)) return;
  const auto [name, instance] = core::split_instance(key);
  App* first = instance_of(std::string(name), 0);
  if (first == nullptr) first = &add_placeholder(std::string(name), unread_folder_);
  if (instance == 0) return;
  if (!first->placeholder) return;  // a surplus instance of an app whose last good definition is known
  add_placeholder(key, first->invalid).tasks = first->tasks;
  first->instance_count = std::max(first->instance_count, instance + 1);
}

// What its row says stays there, for the day on which its definition can be read.
void Engine::leave_unrecovered(App& app) {
  core::LifecycleState& state = app.state;
  state.phase = core::Phase::idle;
  state.current_run = 0;
  state.outgoing_run = 0;
  state.outgoing_until.reset();
  state.next_start.reset();
  state.remove_at.reset();
  app.restart_past.reset();
  app.pid = 0;
  app.run_complete = app.run_number != 0;
  publish(app);
}

void Engine::watch_definitions() {
  bool any = unread_folder_ != nullptr;
  for (const auto& [name, app] : apps_) any = any || (app->invalid != nullptr && !app->state.on_demand);
  any ? definition_watch_.start() : definition_watch_.stop();
}

void Engine::reread_definitions() {
  boost::asio::post(context_, [this] {
    std::vector<std::string> names;
    for (const auto& [name, app] : apps_)
      if (app->invalid != nullptr && !app->state.on_demand && app->instance == 0) names.push_back(name);
    if (!names.empty() || unread_folder_ != nullptr) reread(std::move(names));
  });
}

void Engine::reread(std::vector<std::string> names) {
  std::erase_if(names, [this](const std::string& name) {
    const App* app = instance_of(name, 0);
    return app == nullptr || app->invalid == nullptr || app->state.on_demand;
  });
  if (names.empty() && unread_folder_ == nullptr) return;
  auto asked = names;
  definitions_.load(std::move(asked), [this, names = std::move(names)](store::DefinitionStore::Loaded loaded) mutable {
    boost::asio::post(context_, [this, names = std::move(names), loaded = std::move(loaded)]() mutable {
      take_reread(names, std::move(loaded));
    });
  });
}

// A file that is gone says nothing: an editor may be about to put the new one there. With the daemon's next start it
// counts as deleted.
void Engine::take_reread(const std::vector<std::string>& names, store::DefinitionStore::Loaded loaded) {
  if (loaded.unreadable) return;
  if (unread_folder_ != nullptr) spdlog::info("the definitions can be read again");
  unread_folder_.reset();
  for (auto& definition : loaded.definitions) {
    auto shared = std::make_shared<const core::AppDefinition>(std::move(definition));
    const std::string name = shared->name;
    // A request may be about to write the file: then that one mends it.
    with_name(name, [this, name, shared] {
      const App* app = instance_of(name, 0);
      if (app != nullptr && app->invalid != nullptr && !app->state.on_demand) {
        spdlog::info("the definition of {} is good again", name);
        mend(name, shared);
        watch_definitions();
      }
      release_name(name);
    });
  }
  for (const auto& refused : loaded.refused) {
    App* app = instance_of(refused.name, 0);
    if (app == nullptr || app->invalid == nullptr || std::ranges::find(names, refused.name) == names.end()) continue;
    auto invalid = std::make_shared<const InvalidDefinition>(
        InvalidDefinition{refused.file.string(), refused.line, refused.error.message});
    if (invalid->text() == app->invalid->text()) continue;
    spdlog::error("the definition is left alone: {}", invalid->text());
    for_each_instance(refused.name, [&](App& instance) {
      instance.invalid = invalid;
      instance.invalid_since = platform::wall_now();
      publish(instance);
    });
  }
  watch_definitions();
}

// Like a PUT of the definition: what runs with another one is restarted, and nothing happens when it is the last good
// one.
void Engine::mend(const std::string& name, std::shared_ptr<const core::AppDefinition> definition) {
  dependencies_.set(name, definition->depends_on);
  bool was_placeholder = false;
  for_each_instance(name, [&](App& app) {
    app.invalid.reset();
    was_placeholder = was_placeholder || app.placeholder;
    if (std::exchange(app.placeholder, false)) mend_placeholder(app, *definition);
  });
  if (!was_placeholder)
    redefine(name, definition);
  else
    scale(name);
  for_each_instance(name, [&](App& app) {
    save_state(app);
    publish(app);
  });
}

void Engine::mend_placeholder(App& app, const core::AppDefinition& definition) {
  const std::string name = app.name();
  const std::uint64_t generation = app.generation;
  auto own = std::make_shared<core::AppDefinition>(definition);
  own->name = name;
  app.copy_is_due = true;
  if (!is_live(app.state)) {  // as if the daemon had come up with a good file
    app.state = {};
    app.state.status = own->status;
    app.state.definition = std::move(own);
    const std::string saved = std::exchange(app.unrecovered_state, {});
    if (!saved.empty()) take_saved_state(app, saved);
    app.state.waiting_for = unmet_dependencies(definition);
    return recover_app(app, {});
  }
  // With which definition it was started stands in its tag.
  const LiveRun* run = supervisor_.find(app.run_id);
  const auto outdated = run == nullptr ? std::nullopt : is_outdated(run->tag, *own);
  const core::AppStatus wanted = own->status;
  own->status = app.state.status;
  app.state.definition = own;
  auto written = std::make_shared<core::AppDefinition>(*own);
  written->status = wanted;
  feed(app, core::event::Redefined{written, unmet_dependencies(definition)});
  if (App* still = find(name, generation); still != nullptr && outdated.value_or(false)) restart(*still);
}

}  // namespace appmesh::engine

// The part of the engine that learns whether runs are ready and alive (docs/wire.md#own-fields): from their notify
// sockets, from their output, from the silence of their watchdogs. What follows from it is the core's to decide.
#include <utility>

#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/engine.h"

namespace appmesh::engine {

// Called after everything that may have changed the app.
void Engine::follow_readiness(App& app) {
  const core::AppDefinition& definition = *app.state.definition;
  const bool by_log = definition.readiness && definition.readiness->by == core::ReadinessKind::log;
  if (!by_log && definition.watchdog_seconds == 0 && !app.followed) return;
  const bool runs = app.state.phase == core::Phase::running && app.run_number == app.state.current_run;
  const bool seeks = runs && by_log && !app.state.ready;
  const bool guards = runs && definition.watchdog_seconds > 0;
  if (seeks)
    lines_.follow(app.run_id, app.name(), app.run_number, definition.readiness->pattern);
  else
    lines_.forget(app.run_id);
  if (guards)
    watchdogs_.follow(app.run_id, std::chrono::seconds(definition.watchdog_seconds));
  else
    watchdogs_.forget(app.run_id);
  app.followed = seeks || guards;
}

void Engine::line_found(const runtime::RunId& id) {
  const LiveRun* run = supervisor_.find(id);
  App* app = run == nullptr ? nullptr : app_of(*run);
  if (app != nullptr) feed(*app, core::event::RunReady{.run = run->tag.run_number});
}

void Engine::watchdog_expired(const runtime::RunId& id) {
  const LiveRun* run = supervisor_.find(id);
  App* app = run == nullptr ? nullptr : app_of(*run);
  if (app == nullptr) return;
  spdlog::warn("{}: no WATCHDOG=1 for {} s", app->name(), app->state.definition->watchdog_seconds);
  feed(*app, core::event::WatchdogExpired{run->tag.run_number});
}

void Engine::notified(LiveRun& run, const runtime::Notification& what, NotifySockets::Taken taken) {
  App* app = app_of(run);
  if (app == nullptr || app->run_id != run.id) return taken();
  const core::RunNumber number = run.tag.run_number;
  const auto& readiness = app->state.definition->readiness;
  const bool by_notify = readiness && readiness->by == core::ReadinessKind::notify;
  const runtime::RunId id = run.id;
  if (what.ready || what.watchdog) watchdogs_.sign(id);
  if (what.main_pid) change_main(run, *what.main_pid);
  if (what.status) feed(*app, core::event::RunStatus{number, *what.status});
  if (what.ready && by_notify) feed(*app, core::event::RunReady{.run = number});
  if (what.stopping) feed(*app, core::event::RunReady{.run = number, .ready = false});
  if (what.trigger) feed(*app, core::event::WatchdogExpired{number});
  LiveRun* living = supervisor_.find(id);
  app = living == nullptr ? nullptr : app_of(*living);
  if (app == nullptr || (!what.ready && !what.stopping && !what.status)) return taken();
  save_state(*app, [taken = std::move(taken)](Result<void>) mutable { taken(); });
}

// A run that hands itself over to another of its processes.
void Engine::change_main(LiveRun& run, std::int32_t pid) {
  supervisor_.change_main(run, pid, [this, id = run.id, pid](Result<void> changed) {
    LiveRun* living = supervisor_.find(id);
    App* app = living == nullptr ? nullptr : app_of(*living);
    if (app == nullptr || app->run_id != id) return;
    if (!changed) return spdlog::warn("{}: MAINPID={}: {}", app->name(), pid, changed.error().message);
    if (living->main != LiveRun::Main::alive) return;
    app->pid = pid;
    publish(*app);
    save_state(*app);
  });
}

}  // namespace appmesh::engine

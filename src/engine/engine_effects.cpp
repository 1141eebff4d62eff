// The half of the engine that carries out what the core decided, and turns what happened to runs into events for it.
#include <algorithm>
#include <csignal>
#include <type_traits>
#include <utility>
#include <variant>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/engine.h"
#include "platform/clock.h"

namespace appmesh::engine {

namespace {

std::string_view reason_text(core::StopReason reason) {
  switch (reason) {
    case core::StopReason::none:
      return "";
    case core::StopReason::disabled:
      return "disabled";
    case core::StopReason::restarted:
      return "restarted";
    case core::StopReason::removed:
      return "removed";
    case core::StopReason::window:
      return "outside valid time range";
    case core::StopReason::replaced:
      return "replaced";
    case core::StopReason::timeout:
      return "timeout";
    case core::StopReason::unhealthy:
      return "unhealthy";
    case core::StopReason::not_ready:
      return "not ready in time";
    case core::StopReason::watchdog:
      return "watchdog";
  }
  return "";
}

}  // namespace

void Engine::feed(App& app, core::Event event) {
  events_.push_back({app.name(), app.generation, std::move(event)});
  if (!working_off_) work_off_events();
}

void Engine::work_off_events() {
  working_off_ = true;
  while (!events_.empty()) {
    QueuedEvent next = std::move(events_.front());
    events_.pop_front();
    App* app = find(next.app, next.generation);
    if (app == nullptr) continue;
    carry_out(*app, core::step(app->state, next.event, platform::now(), options_.policy));
    // The app may be deleted by now.
    if (App* still = find(next.app, next.generation)) publish(*still);
  }
  working_off_ = false;
}

void Engine::carry_out(App& app, std::vector<core::Effect> effects) {
  const std::string name = app.name();
  const std::uint64_t generation = app.generation;
  for (const auto& effect : effects) {
    App* still = find(name, generation);
    if (still == nullptr) return;
    carry_out(*still, effect);
  }
}

void Engine::carry_out(App& app, const core::Effect& effect) {
  std::visit(
      [&](const auto& what) {
        using What = std::decay_t<decltype(what)>;
        if constexpr (std::is_same_v<What, core::effect::StartRun>) {
          start_run(app, what.run);
        } else if constexpr (std::is_same_v<What, core::effect::StopRun>) {
          if (LiveRun* run = live_run(app, what.run))
            supervisor_.stop(*run, what.grace, std::string(reason_text(what.reason)), what.abort ? SIGABRT : SIGTERM);
        } else if constexpr (std::is_same_v<What, core::effect::DrainRun>) {
          LiveRun* run = live_run(app, what.run);
          if (run == nullptr) run = find_forgotten(app, what.run);
          if (run != nullptr) return supervisor_.drain(*run, what.grace, what.leftovers);
          boost::asio::post(context_, [this, name = app.name(), generation = app.generation, number = what.run] {
            if (App* still = find(name, generation)) feed(*still, core::event::RunGone{number});
          });
        } else if constexpr (std::is_same_v<What, core::effect::ArmTimer>) {
          arm_app_timer(app, what);
        } else if constexpr (std::is_same_v<What, core::effect::CancelTimer>) {
          timers_.cancel(std::exchange(app.timer, 0));
        } else if constexpr (std::is_same_v<What, core::effect::Publish>) {
          publish_notice(app, what);
        } else if constexpr (std::is_same_v<What, core::effect::PersistState>) {
          save_state(app);
        } else if constexpr (std::is_same_v<What, core::effect::PersistDefinition>) {
          // Whoever asked for the change has written it: see engine_requests.cpp.
        } else {
          static_assert(std::is_same_v<What, core::effect::Delete>);
          delete_app(app);
        }
      },
      effect);
}

void Engine::arm_app_timer(App& app, const core::effect::ArmTimer& timer) {
  timers_.cancel(app.timer);
  auto due = [this, name = app.name(), generation = app.generation] {
    App* app_due = find(name, generation);
    if (app_due == nullptr) return;
    app_due->timer = 0;
    feed(*app_due, core::event::TimerDue{});
  };
  app.timer = timer.steady ? timers_.at(*timer.steady, std::move(due)) : timers_.at(*timer.wall, std::move(due));
}

void Engine::start_run(App& app, core::RunNumber number) {
  if (app.run_number != 0 && app.run_number != number) app.kept_runs.insert(app.kept_runs.begin(), app.run_number);
  if (supervisor_.find(app.run_id) != nullptr) app.outgoing_id = app.run_id;
  const auto target = std::exchange(app.attach, std::nullopt);
  const LiveRun& run = target ? supervisor_.attach(*app.state.definition, app.generation, number, *target)
                              : supervisor_.start(*app.state.definition, app.generation, number, launch_,
                                                  runtime::RunKind::app, app.awaited, app.terminal_size);
  app.run_id = run.id;
  app.run_number = number;
  app.pid = 0;
  app.run_complete = false;
  prune_outputs(app);
}

// After a PUT, and when a run is seen whose limits may be those of an older definition. What the cgroup of the run
// cannot take needs a new run.
void Engine::settle_limits(App& app) {
  if (app.state.phase != core::Phase::running || app.state.on_demand) return;
  LiveRun* run = supervisor_.find(app.run_id);
  if (run == nullptr || run->main != LiveRun::Main::alive) return;
  if (!supervisor_.change_limits(*run, limits_of(*app.state.definition))) restart(app);
}

// One file more than is shown: whoever waits for the rest of a run that was just replaced still gets it.
void Engine::prune_outputs(App& app) {
  if (app.placeholder) return;  // how many it wants to keep is not known
  while (app.kept_runs.size() > app.state.definition->stdout_cache_num + 1) {
    if (live_run(app, app.kept_runs.back()) != nullptr) return;  // it still writes; the next start looks again
    outputs_.remove(app.name(), app.kept_runs.back());
    app.kept_runs.pop_back();
  }
}

void Engine::publish(App& app) {
  const core::LifecycleState& state = app.state;
  auto view = std::make_shared<AppView>();
  view->generation = app.generation;
  view->definition = state.definition;
  view->status = state.status;
  view->phase = state.phase;
  view->instance_count = app.instance_count;
  view->on_demand = state.on_demand.has_value();
  view->healthy = state.healthy;
  view->ready = state.ready;
  view->status_text = state.status_text;
  if (state.phase == core::Phase::blocked) view->waiting_for = state.waiting_for;
  view->run_complete = app.run_complete;
  view->pid = app.pid;
  view->run_number = app.run_number;
  if (app.run_number != 0) view->run_id = app.run_id.text();
  const std::size_t shown = std::min<std::size_t>(app.kept_runs.size(), state.definition->stdout_cache_num);
  view->kept_runs.assign(app.kept_runs.begin(), app.kept_runs.begin() + static_cast<std::ptrdiff_t>(shown));
  view->starts = state.starts;
  view->missed_starts = state.missed_starts;
  view->return_code = state.return_code;
  view->last_start = state.last_start;
  view->last_exit = state.last_exit;
  if (state.next_start) view->next_start = state.next_start->wall;
  if (app.instance == 0) {
    if (state.status != core::AppStatus::enabled) app.roll_stopped.clear();
    view->rolls = rolls_.contains(app.name());
    view->roll_stopped = app.roll_stopped;
  }
  view->last_error = state.last_error().text;
  view->last_error_time = state.last_error().time;
  if (app.invalid != nullptr) {
    view->invalid = app.invalid;
    view->last_error = "definition invalid: " + app.invalid->text();
    view->last_error_time = app.invalid_since;
  }
  view->tasks = app.tasks;
  directory_.publish(std::move(view));
  health_.follow(app.name(), app.generation, state.phase == core::Phase::running ? app.run_number : 0,
                 state.definition);
  follow_readiness(app);
  tell_dependants(app.public_name());
  roll_on(app);
}

store::SavedApp Engine::row_of(App& app) {
  boost::json::object saved = core::save_state(app.state, platform::now());
  if (app.run_number != 0) {
    saved["run_id"] = app.run_id.text();
    saved["run_pid"] = app.pid;
    if (app.outgoing_id) saved["outgoing_run_id"] = app.outgoing_id->text();
  }
  const auto save_cgroup = [&](const char* field, const runtime::RunId& id, const std::string& earlier) {
    const LiveRun* run = supervisor_.find(id);
    const std::string& cgroup = run == nullptr ? earlier : run->tag.cgroup;
    if (!cgroup.empty()) saved[field] = cgroup;
  };
  save_cgroup("run_cgroup", app.run_id, app.saved_cgroup);
  if (app.outgoing_id) save_cgroup("outgoing_run_cgroup", *app.outgoing_id, app.saved_outgoing_cgroup);
  if (app.restart_past) saved["restart_past"] = *app.restart_past;
  if (app.attach) saved["attach"] = {{"pid", app.attach->pid}, {"start_ticks", app.attach->start_ticks}};
  store::SavedApp row{app.name(), wire::write_json(saved), {}};
  // With the state that it led to: one does not mean anything without the other.
  if (app.copy_is_due && !app.placeholder && !app.state.on_demand && app.instance == 0)
    row.definition = definitions_.to_copy(*app.state.definition);
  app.copy_is_due = false;
  return row;
}

void Engine::save_state(App& app) {
  if (!app.is_being_removed) states_.save_app(row_of(app));
}

// The name is free when this returns. A run that still lives goes on ending as a run of no app.
void Engine::delete_app(App& app) {
  const std::string name = app.name();
  timers_.cancel(app.timer);
  if (app.instance == 0) app.tasks->close();  // it is shared by all instances
  if (app.instance == 0)
    hub_.removed({app.state.definition, app.generation});
  else
    hub_.instance_removed(name);
  directory_.erase(name);  // before those who wait for its output are woken: they look here
  for (const auto& id : {app.run_id, app.outgoing_id.value_or(app.run_id)}) {
    LiveRun* run = supervisor_.find(id);
    if (run == nullptr) continue;
    run->app_generation = 0;
    orphan_numbers_[name] = std::max(orphan_numbers_[name], run->tag.run_number);
    watch_.remove(run->id);
    lines_.forget(run->id);
    watchdogs_.forget(run->id);
    if (run->main == LiveRun::Main::exited) supervisor_.drain(*run, options_.policy.stop_grace, core::Leftovers::stop);
  }
  for (const core::RunNumber kept : app.kept_runs) outputs_.remove(name, kept);
  if (app.run_number != 0) outputs_.remove(name, app.run_number);
  // Its own policy must not remove a file that nobody has understood.
  if (!app.state.on_demand && app.instance == 0 && !app.file_is_gone && app.invalid == nullptr)
    definitions_.remove(name, nullptr);
  states_.delete_app(name);
  health_.forget(name);

  const auto removed = [&]<typename T>(std::vector<Done<T>> waiters) {
    for (auto& done : waiters) done(fail(ErrorKind::conflict, "Application <" + name + "> was removed"));
  };
  removed(std::exchange(app.settled_waiters, {}));
  removed(std::exchange(app.started_waiters, {}));
  removed(std::exchange(app.finished_waiters, {}));
  const std::string public_name = app.public_name();
  const std::uint32_t instance = app.instance;
  const std::uint32_t count = app.instance_count;
  apps_.erase(name);
  if (instance == 0) {
    dependencies_.set(name, {});
    end_roll(name);
  }
  instance_deleted(public_name, instance, count);
  tell_dependants(public_name);
}

// ---- what happened to runs
// --------------------------------------------------------------------------------------------

Engine::App* Engine::app_of(const LiveRun& run) {
  App* app = run.app_generation == 0 ? nullptr : find(run.tag.app, run.app_generation);
  return app != nullptr && (app->run_id == run.id || app->outgoing_id == run.id) ? app : nullptr;
}

LiveRun* Engine::live_run(const App& app, core::RunNumber number) {
  for (const auto& id : {app.run_id, app.outgoing_id.value_or(app.run_id)})
    if (LiveRun* run = supervisor_.find(id); run != nullptr && run->tag.run_number == number) return run;
  return nullptr;
}

// A run whose exit was on record, so that the keeper has forgotten it, when a daemon died before it had ended what the
// run left behind. The saved state knows its cgroup; without one its processes are found by the run's id.
LiveRun* Engine::find_forgotten(App& app, core::RunNumber number) {
  const bool outgoing = number == app.state.outgoing_run;
  const auto id = runtime::RunId::parse(outgoing ? app.saved_outgoing_id : app.saved_run_id);
  if (!id || supervisor_.find(*id) != nullptr) return nullptr;
  runtime::RunTag tag;
  tag.app = app.name();
  tag.instance = app.instance;
  tag.run_number = number;
  tag.cgroup = outgoing ? app.saved_outgoing_cgroup : app.saved_cgroup;
  // The state is saved a moment late: another run may have that cgroup by now.
  if (taken_cgroups_.contains(tag.cgroup)) tag.cgroup.clear();
  if (outgoing) app.outgoing_id = *id;
  return &supervisor_.adopt_ended(*id, tag, app.generation);
}

// Its process may ask for a task before the keeper's answer to the spawn is here.
void Engine::run_created(const LiveRun& run) {
  if (App* app = find(run.tag.app, run.app_generation))
    app->tasks->add_worker(run.id, run.tag.instance, run.tag.process_key);
}

void Engine::run_started(LiveRun& run) {
  if (run.tag.kind == runtime::RunKind::health) return health_.started(run);
  App* app = app_of(run);
  if (app == nullptr) {  // the app was deleted while the run was starting
    supervisor_.stop(run, options_.policy.stop_grace, "removed");
    return;
  }
  app->pid = run.pid;
  app->tasks->worker_started(run.id);
  watch_.add(run.id, run.tag.app, run.tag.run_number);
  feed(*app, core::event::RunStarted{run.tag.run_number, run.pid});
  notify_.follow(run);
  if (App* still = app_of(run)) settle_limits(*still);
  if (App* still = app_of(run)) {
    if (run.terminal) still->terminal = std::make_shared<platform::UniqueFd>(std::move(run.terminal));
    answer_started(*still, nullptr);
    if (still = app_of(run); still != nullptr) still->terminal.reset();
  }
}

void Engine::run_failed(LiveRun& run, std::string reason) {
  if (run.tag.kind == runtime::RunKind::health) return health_.start_failed(run);
  notify_.forget(run);
  App* app = app_of(run);
  if (app == nullptr) return orphan_gone(run);
  app->tasks->remove_worker(run.id);
  app->run_complete = true;
  const bool on_demand = app->state.on_demand.has_value();
  feed(*app, core::event::StartFailed{run.tag.run_number, reason});
  App* still = app_of(run);
  if (still == nullptr) return;
  if (!on_demand) return answer_started(*still, nullptr);
  const Error refused{ErrorKind::invalid_argument, std::move(reason), {}};
  answer_started(*still, &refused);
}

void Engine::run_exited(LiveRun& run) {
  if (run.tag.kind == runtime::RunKind::health) return health_.exited(run);
  App* app = app_of(run);
  if (app != nullptr) {
    if (app->run_id == run.id) app->pid = 0;
    app->tasks->remove_worker(run.id);
    feed(*app, core::event::RunExited{.run = run.tag.run_number,
                                      .return_code = run.exit->return_code,
                                      .known = run.exit->known,
                                      .note = run.note,
                                      .at = run.exit->ended});
  }
  if (app_of(run) == nullptr) supervisor_.drain(run, options_.policy.stop_grace, core::Leftovers::stop);
  // The keeper may forget the exit when it, and the state that follows from it, is in the database.
  record(run, [this, id = run.id](Result<void> stored) {
    if (!stored) return;
    boost::asio::post(context_, [this, id] { supervisor_.forget(id); });
  });
}

void Engine::run_gone(LiveRun& run) {
  if (run.tag.kind == runtime::RunKind::health) return;
  notify_.forget(run);
  App* app = app_of(run);
  const bool newest = app != nullptr && app->run_id == run.id;
  if (app != nullptr && app->outgoing_id == run.id) app->outgoing_id.reset();
  if (newest) {
    app->run_complete = true;
    publish(*app);  // before the readers of its output are woken: they look at it
  }
  watch_.remove(run.id);
  if (app == nullptr) return orphan_gone(run);
  tell_gone(*app, run);
  if (newest) answer_finished(*app);
  feed(*app, core::event::RunGone{run.tag.run_number});
}

// Its output may be the app's all the same: that of its last run, when the keeper has not been told yet that the end is
// on record, or that of a run which has the number of one of a deleted app.
void Engine::orphan_gone(const LiveRun& run) {
  const core::RunNumber file = run.tag.run_number;
  const auto app = apps_.find(run.tag.app);
  const bool kept =
      app != apps_.end() && (app->second->run_number == file || app->second->state.outgoing_run == file ||
                             std::ranges::find(app->second->kept_runs, file) != app->second->kept_runs.end());
  if (!kept) outputs_.remove(run.tag.app, file);
  const auto number = orphan_numbers_.find(run.tag.app);
  if (number != orphan_numbers_.end() && number->second == run.tag.run_number) orphan_numbers_.erase(number);
}

void Engine::record(const LiveRun& run, store::StateStore::Done done) {
  store::RunRecord row;
  row.run_id = run.id.text();
  row.app = core::split_instance(run.tag.app).app;
  row.run_number = run.tag.run_number;
  row.instance = run.tag.instance;
  row.pid = run.pid;
  row.start = run.started;
  if (run.exit) {
    row.end = run.exit->ended;
    if (run.exit->known) row.return_code = run.exit->return_code;
    row.max_rss_bytes = run.exit->max_rss_bytes;
    row.cpu = run.exit->cpu;
    row.reason = !run.stop_reason.empty()    ? "stopped: " + run.stop_reason
                 : !run.exit->known          ? "exit status unknown"
                 : run.exit->return_code < 0 ? "killed by a signal"
                                             : "exited";
    if (!run.note.empty()) row.reason += ", " + run.note;
  }
  states_.record_run(std::move(row), std::move(done));
}

}  // namespace appmesh::engine

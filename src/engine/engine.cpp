#include "engine/engine.h"

#include <future>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "core/app_authority.h"
#include "engine/app.h"
#include "platform/clock.h"
#include "platform/random.h"

namespace appmesh::engine {

namespace {

constexpr std::size_t kMaxBusyRequests = 1000;  // waiting on one name

std::string cgroup_parent(const std::filesystem::path& home) {
  return fmt::format("appmesh-{:016x}", std::hash<std::string>{}(home.string()));
}

Error no_such_app(std::string_view name) {
  return {ErrorKind::not_found, fmt::format("No such application <{}> found", name), {}};
}

void apply(core::Policy& policy, const Tuning& tuning) {
  policy.stop_grace = tuning.stop_grace;
  policy.backoff_limit = tuning.backoff_limit;
  policy.zone = tuning.zone;
}

Error replaced(std::string_view name) {
  return {ErrorKind::conflict, fmt::format("Application <{}> was replaced by another request, try again", name), {}};
}

}  // namespace

Engine::Engine(EngineOptions options, store::DefinitionStore& definitions, store::StateStore& states)
    : options_(std::move(options)),
      definitions_(definitions),
      states_(states),
      directory_(options_.access_changed),
      outputs_(options_.output_directory),
      launch_{options_.default_directory.string(), options_.inherited_environment, runtime::own_user()},
      work_(context_.get_executor()),
      timers_(context_, [this] { clock_was_set(); }),
      watch_(context_, timers_, outputs_, options_.tuning.output_limit_bytes),
      supervisor_(context_, timers_, outputs_,
                  {.home = options_.home,
                   .keeper_program = options_.keeper_program,
                   .cgroup_parent = cgroup_parent(options_.home),
                   .notify_directory = options_.notify_directory,
                   .exec_user = options_.exec_user},
                  {.on_created = [this](const LiveRun& run) { run_created(run); },
                   .on_started = [this](LiveRun& run) { run_started(run); },
                   .on_start_failed = [this](LiveRun& run, std::string reason) { run_failed(run, std::move(reason)); },
                   .on_exited = [this](LiveRun& run) { run_exited(run); },
                   .on_gone = [this](LiveRun& run) { run_gone(run); },
                   .on_keeper_lost = [this] { keeper_pid_ = 0; },
                   .on_keeper_back =
                       [this] {
                         keeper_pid_ = supervisor_.keeper_pid();
                         notify_.keep_again();
                         spdlog::info("the keeper is back");
                       }}),
      hub_(context_, timers_, watch_, outputs_, event_directory()),
      health_(timers_, supervisor_, launch_, options_.tuning.health_check_interval,
              [this](const std::string& name, std::uint64_t generation, bool healthy) {
                App* app = find(name, generation);
                if (app != nullptr && app->state.healthy != healthy) feed(*app, core::event::HealthChanged{healthy});
              }),
      notify_(context_, supervisor_, options_.notify_directory,
              [this](LiveRun& run, const runtime::Notification& what, NotifySockets::Taken taken) {
                notified(run, what, std::move(taken));
              }),
      watchdogs_(timers_, [this](const runtime::RunId& id) { watchdog_expired(id); }),
      lines_(context_, watch_, outputs_, [this](const runtime::RunId& id) { line_found(id); }) {
  apply(options_.policy, options_.tuning);
  zone_ = options_.tuning.zone;
}

Engine::~Engine() {
  stop();
}

// Every plan is made in wall time: each app looks at its own again.
void Engine::clock_was_set() {
  feed_all(core::event::TimerDue{});
}

void Engine::feed_all(const core::Event& event) {
  std::vector<std::pair<std::string, std::uint64_t>> apps;
  for (const auto& [name, app] : apps_) apps.emplace_back(name, app->generation);
  for (const auto& [name, generation] : apps)
    if (App* app = find(name, generation)) feed(*app, event);
}

void Engine::tune(Tuning tuning) {
  {
    const std::lock_guard lock(zone_mutex_);
    zone_ = tuning.zone;
  }
  boost::asio::post(context_, [this, tuning = std::move(tuning)] {
    const bool other_zone = !(tuning.zone == options_.policy.zone);
    const bool other_limit = tuning.backoff_limit != options_.policy.backoff_limit;
    apply(options_.policy, tuning);
    health_.set_interval(tuning.health_check_interval);
    watch_.set_limit(tuning.output_limit_bytes);
    if (other_zone || other_limit) feed_all(core::event::PolicyChanged{.zone = other_zone});
  });
}

core::Zone Engine::zone() const {
  const std::lock_guard lock(zone_mutex_);
  return zone_;
}

Result<void> Engine::start() {
  if (auto loaded = load(); !loaded) return loaded;
  std::promise<Result<void>> opened;
  auto result = opened.get_future();
  boost::asio::post(context_, [this, &opened] {
    supervisor_.open([this, &opened](Result<std::vector<runtime::KnownRun>> known) {
      if (!known) return opened.set_value(std::unexpected(known.error()));
      keeper_pid_ = supervisor_.keeper_pid();
      recover(*known);
      opened.set_value({});
    });
  });
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "engine");
    context_.run();
  });
  return result.get();
}

void Engine::stop() {
  if (!thread_.joinable()) return;
  boost::asio::post(context_, [this] { context_.stop(); });
  thread_.join();
}

Engine::App* Engine::find(const std::string& name, std::uint64_t generation) {
  const auto found = apps_.find(name);
  return found == apps_.end() || found->second->generation != generation ? nullptr : found->second.get();
}

Result<Engine::App*> Engine::find_expected(const std::string& name, std::uint64_t generation) {
  const auto found = apps_.find(name);
  if (found == apps_.end()) return std::unexpected(no_such_app(name));
  if (found->second->generation != generation) return std::unexpected(replaced(name));
  return found->second.get();
}

Engine::App& Engine::add_app(std::shared_ptr<const core::AppDefinition> definition) {
  auto app = std::make_unique<App>();
  app->generation = ++last_generation_;
  app->tasks = std::make_shared<TaskQueue>(task_budget_);
  app->state.status = definition->status;
  app->state.definition = std::move(definition);
  // A run of a deleted app of this name may still be ending: its number, and its output file, stay its own.
  if (const auto orphan = orphan_numbers_.find(app->name()); orphan != orphan_numbers_.end())
    app->state.last_run = orphan->second;
  App& added = *app;
  apps_.emplace(added.name(), std::move(app));
  return added;
}

// ---- one request at a time for one name
// -------------------------------------------------------------------------------

void Engine::with_name(const std::string& name, std::move_only_function<void()> action) {
  const auto [waiting, free] = busy_names_.try_emplace(name);
  if (free) return action();
  waiting->second.push_back(std::move(action));
}

void Engine::release_name(const std::string& name) {
  const auto waiting = busy_names_.find(name);
  if (waiting == busy_names_.end()) return;
  if (waiting->second.empty()) {
    busy_names_.erase(waiting);
    return;
  }
  auto next = std::move(waiting->second.front());
  waiting->second.pop_front();
  boost::asio::post(context_, std::move(next));
}

template <typename T>
Done<T> Engine::releasing(std::string name, Done<T> done) {
  return [this, name = std::move(name), done = std::move(done)](Result<T> result) mutable {
    done(std::move(result));
    release_name(name);
  };
}

// ---- registered apps
// --------------------------------------------------------------------------------------------------

void Engine::register_app(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done) {
  boost::asio::post(context_, [this, definition = std::move(definition), expected, done = std::move(done)]() mutable {
    admit(std::move(definition), expected, std::nullopt, std::move(done));
  });
}

void Engine::admit(core::AppDefinition definition, Expected expected, std::optional<Subscription> subscription,
                   Done<AppViewPtr> done) {
  const auto busy = busy_names_.find(definition.name);
  if (busy != busy_names_.end() && busy->second.size() >= kMaxBusyRequests)
    return done(fail(ErrorKind::unavailable, "too many requests for this application, try again"));
  const std::string name = definition.name;
  with_name(name, [this, definition = std::move(definition), expected, subscription = std::move(subscription),
                   done = releasing(name, std::move(done))]() mutable {
    if (subscription) done = with_subscription(definition.name, std::move(*subscription), std::move(done));
    take_definition(std::move(definition), expected, std::nullopt, std::move(done));
  });
}

void Engine::take_definition(core::AppDefinition definition, Expected expected, std::optional<AttachTarget> target,
                             Done<AppViewPtr> done) {
  const auto found = apps_.find(definition.name);
  App* existing = found == apps_.end() ? nullptr : found->second.get();
  if (expected.generation.has_value() != (existing != nullptr) ||
      (existing != nullptr && existing->generation != *expected.generation))
    return done(std::unexpected(replaced(definition.name)));
  if (existing != nullptr) {
    const core::AppDefinition& now = *existing->state.definition;
    const bool as_seen =
        expected.definition ? core::same_authority(*expected.definition, now) : definition.owner == now.owner;
    if (!as_seen) return done(std::unexpected(replaced(definition.name)));
  }
  const std::size_t had = existing == nullptr ? 0 : existing->instance_count;
  if (definition.instances > had && apps_.size() + definition.instances - had > options_.max_apps)
    return done(fail(ErrorKind::unavailable, fmt::format("no more than {} applications", options_.max_apps)));
  if (existing != nullptr && existing->state.on_demand)
    return done(fail(ErrorKind::conflict, fmt::format("<{}> is an on-demand run: remove it first", definition.name)));

  const bool is_own = existing != nullptr && existing->pid == definition.pid;
  if (definition.pid != 0 && !is_own && definition.instances > 1)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': an application with several instances cannot attach"));
  if (definition.pid != 0 && !is_own && !target) return find_target(std::move(definition), expected, std::move(done));
  if (target && existing != nullptr && existing->state.phase == core::Phase::starting)
    return done(fail(ErrorKind::conflict, fmt::format("<{}> is being started, try again", definition.name)));

  if (auto checked = check_dependencies(definition); !checked) return done(std::unexpected(checked.error()));
  definition.pid = 0;
  if (existing != nullptr) {
    const core::AppDefinition& before = *existing->state.definition;
    definition = core::keep_stored_fields(before, std::move(definition));
    if (!target && core::same_definition(before, definition)) {
      place_subscription(existing->name());
      return when_settled(*existing, std::move(done));
    }
  } else {
    definition.register_time = core::epoch_seconds(platform::wall_now());
  }
  auto shared = std::make_shared<const core::AppDefinition>(std::move(definition));
  const std::uint64_t generation = existing == nullptr ? 0 : existing->generation;
  dependencies_.set(shared->name, shared->depends_on);  // two requests at a time must not make a cycle
  definitions_.save(shared, [this, shared, generation, target, done = std::move(done)](Result<void> saved) mutable {
    boost::asio::post(context_,
                      [this, shared, generation, target, saved = std::move(saved), done = std::move(done)]() mutable {
                        if (!saved) {
                          restore_dependencies(shared->name);
                          return done(std::unexpected(saved.error()));
                        }
                        definition_saved(std::move(shared), generation, target, std::move(done));
                      });
  });
}

// A process can be adopted when the app would be started now, and not before.
void Engine::find_target(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done) {
  if (definition.status != core::AppStatus::enabled)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': a disabled application cannot attach to a process"));
  const core::WallTime now = platform::wall_now();
  if (core::next_opening(definition, now) != now)
    return done(fail(ErrorKind::invalid_argument, "field 'pid': attaching outside the valid time range"));
  const std::int32_t pid = definition.pid;
  const std::string owner = definition.owner;
  supervisor_.find_attachable(pid, owner,
                              [this, definition = std::move(definition), expected,
                               done = std::move(done)](Result<AttachTarget> target) mutable {
                                if (!target) return done(std::unexpected(target.error()));
                                take_definition(std::move(definition), expected, *target, std::move(done));
                              });
}

void Engine::definition_saved(std::shared_ptr<const core::AppDefinition> definition, std::uint64_t generation,
                              std::optional<AttachTarget> target, Done<AppViewPtr> done) {
  App* app = nullptr;
  if (generation == 0) {
    if (apps_.contains(definition->name)) {
      // An on-demand run took the name while the file was written.
      definitions_.remove(definition->name, nullptr);
      restore_dependencies(definition->name);
      return done(std::unexpected(replaced(definition->name)));
    }
    app = &add_app(definition);
    app->attach = target;
    place_subscription(app->name());
    save_state(*app);
    feed(*app, core::event::Defined{unmet_dependencies(*definition)});
    scale(definition->name);
  } else {
    app = find(definition->name, generation);
    if (app == nullptr) {  // a policy removed the app while its file was written
      definitions_.remove(definition->name, nullptr);
      restore_dependencies(definition->name);
      return done(std::unexpected(replaced(definition->name)));
    }
    app->attach = target;
    place_subscription(app->name());
    redefine(definition->name, definition);
  }
  // What runs makes way for the adopted process, and a schedule does not delay it.
  const auto waiting = apps_.find(definition->name);
  if (waiting != apps_.end() && waiting->second->attach) feed(*waiting->second, core::event::RestartRequested{});
  const auto found = apps_.find(definition->name);
  if (found == apps_.end()) return done(std::unexpected(no_such_app(definition->name)));
  when_settled(*found->second, std::move(done));
}

void Engine::when_settled(App& app, Done<AppViewPtr> done) {
  if (app.state.phase == core::Phase::starting)
    app.settled_waiters.push_back(std::move(done));
  else
    done(directory_.find(app.name()));
}

void Engine::set_enabled(std::string name, bool enabled, std::uint64_t generation, Done<bool> done) {
  boost::asio::post(context_, [this, name = std::move(name), enabled, generation, done = std::move(done)]() mutable {
    with_name(name, [this, name, enabled, generation, done = releasing(name, std::move(done))]() mutable {
      auto app = find_expected(name, generation);
      if (!app) return done(std::unexpected(app.error()));
      if ((*app)->state.status == core::AppStatus::not_available)
        return done(fail(ErrorKind::precondition_failed,
                         fmt::format("<{}> is an on-demand run: it cannot be enabled or disabled", name)));
      if ((*app)->state.status == (enabled ? core::AppStatus::enabled : core::AppStatus::disabled)) return done(false);
      (*app)->saved_waiters.push_back([done = std::move(done)](Result<void> saved) mutable {
        if (!saved) return done(std::unexpected(saved.error()));
        done(true);
      });
      if (!enabled) (*app)->attach.reset();
      for_each_instance(name, [&](App& instance) {
        feed(instance, enabled ? core::Event(core::event::Enabled{}) : core::Event(core::event::Disabled{}));
      });
    });
  });
}

void Engine::restart_app(std::string name, std::uint64_t generation, Done<> done) {
  boost::asio::post(context_, [this, name = std::move(name), generation, done = std::move(done)]() mutable {
    auto app = find_expected(name, generation);
    if (!app) return done(std::unexpected(app.error()));
    if ((*app)->state.status != core::AppStatus::enabled)
      return done(fail(ErrorKind::precondition_failed, fmt::format("<{}> is not enabled", name)));
    if ((*app)->instance_count > 1)
      restart_all(name);
    else
      feed(**app, core::event::RestartRequested{});
    done({});
  });
}

void Engine::remove_app(std::string name, std::uint64_t generation, bool force, Done<> done) {
  boost::asio::post(context_, [this, name = std::move(name), generation, force, done = std::move(done)]() mutable {
    with_name(name, [this, name, generation, force, done = releasing(name, std::move(done))]() mutable {
      auto app = find_expected(name, generation);
      if (!app) return done(std::unexpected(app.error()));
      if (const auto dependants = dependencies_.dependants_of(name); !force && !dependants.empty())
        return done(fail(ErrorKind::conflict,
                         fmt::format("Application <{}> is needed by {}: remove these first, or use ?force=true", name,
                                     fmt::join(dependants, ", "))));
      if ((*app)->state.on_demand) {
        feed(**app, core::event::Removed{});
        return done({});
      }
      // The file goes first: a crash in between leaves either the app as it was or none at all.
      definitions_.remove(name, [this, name, generation, done = std::move(done)](Result<void> removed) mutable {
        boost::asio::post(context_, [this, name, generation, removed, done = std::move(done)]() mutable {
          if (!removed) return done(std::unexpected(removed.error()));
          if (App* still = find(name, generation)) feed(*still, core::event::Removed{});
          done({});
        });
      });
    });
  });
}

Engine::WaitId Engine::wait_output(std::string name, const std::string& run_id, std::uint64_t position,
                                   std::chrono::milliseconds timeout, std::move_only_function<void()> done) {
  const WaitId id = last_wait_.fetch_add(1, std::memory_order_relaxed) + 1;
  boost::asio::post(context_, [this, name = std::move(name), run = runtime::RunId::parse(run_id), position, timeout, id,
                               done = std::move(done)]() mutable {
    const auto found = apps_.find(name);
    if (found == apps_.end() || found->second->run_complete || found->second->run_id != run) return done();
    watch_.wait(*run, position, timeout, std::move(done), id);
  });
  return id;
}

void Engine::end_wait(const std::string& run_id, WaitId id) {
  boost::asio::post(context_, [this, run = runtime::RunId::parse(run_id), id] {
    if (run) watch_.end_wait(*run, id);
  });
}

// ---- on-demand runs
// ---------------------------------------------------------------------------------------------------

void Engine::run(OnDemandRequest request, Done<RunTicket> started, Done<FinishedRun> finished) {
  boost::asio::post(context_, [this, request = std::move(request), started = std::move(started),
                               finished = std::move(finished)]() mutable {
    create_on_demand(std::move(request), false, std::move(started), std::move(finished));
  });
}

void Engine::run_and_wait(OnDemandRequest request, Done<FinishedRun> finished, Done<RunTicket> started) {
  boost::asio::post(context_, [this, request = std::move(request), started = std::move(started),
                               finished = std::move(finished)]() mutable {
    create_on_demand(std::move(request), true, std::move(started), std::move(finished));
  });
}

void Engine::attach_terminal(std::string name, std::uint64_t generation, Done<RunTicket> attached,
                             Done<FinishedRun> finished) {
  boost::asio::post(context_, [this, name = std::move(name), generation, attached = std::move(attached),
                               finished = std::move(finished)]() mutable {
    App* app = find(name, generation);
    LiveRun* run = app == nullptr ? nullptr : live_run(*app, app->run_number);
    if (run == nullptr || !run->tag.terminal || run->main == LiveRun::Main::starting)
      return attached(fail(ErrorKind::not_found, fmt::format("<{}> has no terminal", name)));
    if (std::exchange(app->attended, true))
      return attached(fail(ErrorKind::conflict, fmt::format("somebody is at the terminal of <{}>", name)));
    supervisor_.ask_kept(run->id, [this, name, generation, attached = std::move(attached),
                                   finished = std::move(finished)](auto kept) mutable {
      App* still = find(name, generation);
      if (still == nullptr || !kept || kept->empty()) {
        if (still != nullptr) watch_unattended(*still);
        return attached(fail(ErrorKind::not_found, fmt::format("the terminal of <{}> is gone", name)));
      }
      RunTicket ticket = still->ticket();
      ticket.terminal = std::make_shared<platform::UniqueFd>(std::move(kept->front()));
      still->finished_waiters.push_back(std::move(finished));
      attached(std::move(ticket));
    });
  });
}

// Of a run with a terminal that an earlier daemon started: whoever was there may come again, or the run ends.
void Engine::watch_unattended(App& app) {
  app.attended = false;
  timers_.after(kUnattendedTerminal, [this, name = app.name(), generation = app.generation] {
    App* still = find(name, generation);
    if (still != nullptr && !still->attended) remove_app(name, generation, true, [](Result<void>) {});
  });
}

Result<std::string> Engine::on_demand_name(const OnDemandRequest& request) const {
  const std::string& asked = request.definition.name;
  if (asked.empty()) {
    std::string name;
    do {
      name = platform::random_hex(6);
    } while (apps_.contains(name) || busy_names_.contains(name));
    return name;
  }
  if (request.numbered_name) {
    for (std::size_t k = 1; k <= options_.max_apps; ++k) {
      std::string name = fmt::format("{}_{}", asked, k);
      if (!apps_.contains(name) && !busy_names_.contains(name)) return name;
    }
  }
  if (apps_.contains(asked) || busy_names_.contains(asked))
    return fail(ErrorKind::invalid_argument, fmt::format("field 'name': a run with the name <{}> is active", asked));
  return asked;
}

void Engine::create_on_demand(OnDemandRequest request, bool awaited, Done<RunTicket> started,
                              Done<FinishedRun> finished) {
  auto refuse = [&](const Error& error) {
    if (started) started(std::unexpected(error));
    if (finished) finished(std::unexpected(error));
  };
  if (apps_.size() >= options_.max_apps)
    return refuse({ErrorKind::unavailable, fmt::format("no more than {} applications", options_.max_apps), {}});
  auto name = on_demand_name(request);
  if (!name) return refuse(name.error());
  const core::Now now = platform::now();
  core::AppDefinition definition = std::move(request.definition);
  definition.name = std::move(*name);
  definition.status = core::AppStatus::not_available;
  definition.instances = 1;
  definition.register_time = core::epoch_seconds(now.wall);
  App& app = add_app(std::make_shared<const core::AppDefinition>(std::move(definition)));
  app.state.on_demand = core::OnDemand{.timeout = request.timeout, .remove_at = now.steady + request.lifetime};
  if (started) app.started_waiters.push_back(std::move(started));
  if (finished) app.finished_waiters.push_back(std::move(finished));
  app.terminal_size = request.terminal;
  app.awaited = awaited;
  publish(app);

  store::SavedApp saved{app.name(), {}, {}};
  saved.state = boost::json::serialize(core::save_state(app.state, now));
  saved.definition = boost::json::serialize(core::write_definition(*app.state.definition, core::SecretFields::omit));
  if (awaited) {  // most such runs end before the commit
    states_.save_app(std::move(saved));
    return feed(app, core::event::Defined{});
  }
  // Remembered before it is started, so that a daemon that dies in between leaves no run that nobody knows.
  states_.save_app(std::move(saved), [this, app_name = app.name(), generation = app.generation](Result<void> done) {
    boost::asio::post(context_, [this, app_name, generation, done = std::move(done)] {
      App* created = find(app_name, generation);
      if (created == nullptr) return;
      if (done) return feed(*created, core::event::Defined{});
      answer_started(*created, &done.error().message);
      delete_app(*created);
    });
  });
}

void Engine::answer_started(App& app, const std::string* failure) {
  auto started = std::exchange(app.started_waiters, {});
  auto settled = std::exchange(app.settled_waiters, {});
  for (auto& done : started) {
    if (failure != nullptr)
      done(fail(ErrorKind::invalid_argument, *failure));
    else
      done(app.ticket());
  }
  for (auto& done : settled) done(directory_.find(app.name()));
  if (failure == nullptr) return;
  for (auto& done : std::exchange(app.finished_waiters, {})) done(fail(ErrorKind::invalid_argument, *failure));
}

void Engine::answer_finished(App& app) {
  for (auto& done : std::exchange(app.finished_waiters, {}))
    done(FinishedRun{app.ticket(), app.run_number, app.state.return_code.value_or(0)});
}

}  // namespace appmesh::engine

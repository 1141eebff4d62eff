#include "engine/engine.h"

#include <future>
#include <utility>

#include <sys/stat.h>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "engine/app.h"
#include "engine/refusals.h"
#include "platform/clock.h"
#include "platform/random.h"

namespace appmesh::engine {

namespace {

// Daemons in different mount namespaces may have homes of one path, and yet one tree of cgroups: the directory itself
// tells them apart.
std::string cgroup_parent(const std::filesystem::path& home) {
  struct stat status{};
  if (::stat(home.c_str(), &status) != 0) status = {};
  return fmt::format("appmesh-{:016x}",
                     std::hash<std::string>{}(fmt::format("{} {} {}", home.string(), status.st_dev, status.st_ino)));
}

std::string older_cgroup_parent(const std::filesystem::path& home) {
  return fmt::format("appmesh-{:016x}", std::hash<std::string>{}(home.string()));
}

void apply(core::Policy& policy, const Tuning& tuning) {
  policy.stop_grace = tuning.stop_grace;
  policy.backoff_limit = tuning.backoff_limit;
  policy.zone = tuning.zone;
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
                   .older_cgroup_parent = older_cgroup_parent(options_.home),
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
      lines_(context_, watch_, outputs_, [this](const runtime::RunId& id) { line_found(id); }),
      definition_watch_(context_, definitions_.directory(),
                        [this](const std::string& name) { name.empty() ? reread_definitions() : reread({name}); }) {
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
    if (still != nullptr && !still->attended) discard_run(name, generation);
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
  // Who waits for the end is not told "started" and need not wait for the disk, unless it is known to take nothing.
  if (auto trouble = states_.trouble(); trouble && awaited) return refuse(*trouble);
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
  saved.state = wire::write_json(core::save_state(app.state, now));
  saved.definition = core::definition_text(*app.state.definition, core::SecretFields::omit);
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
      answer_started(*created, &done.error());
    });
  });
}

// A failure ends the app; it is gone before its caller hears of it, and may look.
void Engine::answer_started(App& app, const Error* failure) {
  auto started = std::exchange(app.started_waiters, {});
  if (failure != nullptr) {
    auto finished = std::exchange(app.finished_waiters, {});
    delete_app(app);
    for (auto& done : started) done(std::unexpected(*failure));
    for (auto& done : finished) done(std::unexpected(*failure));
    return;
  }
  auto settled = std::exchange(app.settled_waiters, {});
  for (auto& done : started) done(app.ticket());
  for (auto& done : settled) done(directory_.find(app.name()));
}

void Engine::answer_finished(App& app) {
  for (auto& done : std::exchange(app.finished_waiters, {}))
    done(FinishedRun{app.ticket(), app.run_number, app.state.return_code.value_or(0)});
}

}  // namespace appmesh::engine

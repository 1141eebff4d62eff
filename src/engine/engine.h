// The shell around the core: owns every app, feeds events to core::step() and carries out its effects. One thread owns
// all of it, so nothing here is locked. Public calls may be made from any thread; they hop to the engine thread, and
// their `Done` runs there, once, and must only hand the result on. Reads that need no decision go to directory()
// instead.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "core/app_definition.h"
#include "core/error.h"
#include "core/lifecycle.h"
#include "engine/app_view.h"
#include "engine/definition_watch.h"
#include "engine/dependency_graph.h"
#include "engine/event_hub.h"
#include "engine/health_checks.h"
#include "engine/line_watch.h"
#include "engine/notify_sockets.h"
#include "engine/output_watch.h"
#include "engine/run_supervisor.h"
#include "engine/task_queue.h"
#include "engine/timers.h"
#include "engine/watchdogs.h"
#include "runtime/launch.h"
#include "runtime/output_files.h"
#include "store/definition_store.h"
#include "store/state_store.h"

namespace appmesh::engine {

template <typename T = void>
using Done = std::move_only_function<void(Result<T>)>;

// What the configuration may change while the engine runs.
struct Tuning {
  std::chrono::seconds stop_grace{3};
  std::chrono::seconds backoff_limit{300};
  std::chrono::seconds health_check_interval{10};
  std::uint64_t output_limit_bytes = 100ULL * 1024 * 1024;  // of one run's file
  core::Zone zone;                                          // of cron expressions and of times shown as text
};

struct EngineOptions {
  std::filesystem::path home;
  std::filesystem::path output_directory;   // HOME/work/stdout
  std::filesystem::path default_directory;  // HOME/work/tmp
  std::filesystem::path notify_directory;   // HOME/work/notify
  std::filesystem::path keeper_program;
  std::vector<std::string> inherited_environment;
  // The OS user that runs of an owner's apps switch to, empty for the daemon's own. Asked at each start on the engine
  // thread, so it must not wait. An error is the reason of a failed start. Absent: no run switches.
  std::function<Result<std::string>(const std::string& owner)> exec_user;
  // Told of each app whose owner or permission changed, or that is gone. On the engine thread; it must not wait.
  std::function<void(const std::string& app)> access_changed;
  core::Policy policy;  // but for what tuning says
  Tuning tuning;
  std::size_t max_apps = 20'000;
};

// What a request found when it was checked; the engine refuses with `conflict` when the app is another one by now.
struct Expected {
  std::optional<std::uint64_t> generation;  // absent: the name must be free
  // What the caller's right to change it was found for: owner, secrets and what runs must still be these. Absent for
  // whoever owns it: then the owner must be that of the new definition.
  std::shared_ptr<const core::AppDefinition> definition = nullptr;
};

struct OnDemandRequest {
  core::AppDefinition definition;  // complete: a copy of a registered app is already merged
  bool numbered_name = false;      // `definition.name` is a base: take the first free "<name>_<k>"
  std::chrono::seconds timeout{0};
  std::chrono::seconds lifetime{0};
  // It has one for stdin and output. The keeper holds our end too, so that the run outlives this daemon.
  std::optional<platform::TerminalSize> terminal;
};

struct RunTicket {
  std::string app;
  std::string run_id;
  std::uint64_t generation = 0;
  std::shared_ptr<platform::UniqueFd> terminal;  // our end, which does not block
};

struct FinishedRun {
  RunTicket ticket;
  core::RunNumber run_number = 0;
  int return_code = 0;
};

class Engine {
 public:
  Engine(EngineOptions options, store::DefinitionStore& definitions, store::StateStore& states);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Loads definitions and state, finds every run that outlived the last daemon, and goes on. Blocks until that is done.
  Result<void> start();
  // Ends the thread and leaves every run alone: that is what a restart of the daemon needs.
  void stop();

  [[nodiscard]] const AppDirectory& directory() const { return directory_; }
  [[nodiscard]] const runtime::OutputFiles& outputs() const { return outputs_; }

  [[nodiscard]] std::int32_t keeper_pid() const { return keeper_pid_.load(std::memory_order_relaxed); }  // 0: none

  // Acts at once: plans made in another zone are made anew, and a longer back-off than the new limit is cut.
  void tune(Tuning tuning);
  [[nodiscard]] core::Zone zone() const;

  // All that changes something: `done` comes when the change is durable, and nothing has changed, in memory or among
  // the processes, when it brings an error (docs/decisions/0019-durable-answers.md).

  // New or changed; a `pid` other than that of the app's own run is a process to adopt. An app that is due has been
  // asked to start by `done`.
  void register_app(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done);
  // The same, with a subscription that is there before anything is started, so that not even its START is missed. It
  // ends again when the request fails.
  void register_app(core::AppDefinition definition, Expected expected, Subscription subscription,
                    Done<AppViewPtr> done);
  // The value is false when nothing had to change.
  void set_enabled(std::string name, bool enabled, std::uint64_t generation, Done<bool> done);
  void restart_app(std::string name, std::uint64_t generation, Done<> done);
  // Errors: conflict when other apps depend on it, unless `force`.
  void remove_app(std::string name, std::uint64_t generation, bool force, Done<> done);
  // An on-demand run that its caller has seen the end of: nobody waits for the disk.
  void discard_run(std::string name, std::uint64_t generation);
  // Looks again at definitions that could not be read or were refused.
  void reread_definitions();

  // `started` when it runs, and it is on disk; `finished` when the run has ended and its output is stored. Both are
  // told of an error, `finished` also when the app is removed before; either may be null, and neither survives a
  // restart of the daemon. The app stays until remove_app() or its lifetime's end.
  void run(OnDemandRequest request, Done<RunTicket> started, Done<FinishedRun> finished = nullptr);
  // The same for a caller who waits for the end, so that the start need not wait for the disk.
  void run_and_wait(OnDemandRequest request, Done<FinishedRun> finished, Done<RunTicket> started = nullptr);
  // Again, after a restart of the daemon. A run that nobody attaches to within kUnattendedTerminal is ended. Errors:
  // not_found, conflict when somebody is attached.
  void attach_terminal(std::string name, std::uint64_t generation, Done<RunTicket> attached,
                       Done<FinishedRun> finished);
  static constexpr std::chrono::seconds kUnattendedTerminal{60};

  // `done` when the run has output past `position`, is complete, is not the newest run of the app, or after `timeout`.
  // The result is for end_wait(): nobody waits any more, and `done` is called soon.
  using WaitId = OutputWatch::WaitId;
  WaitId wait_output(std::string name, const std::string& run_id, std::uint64_t position,
                     std::chrono::milliseconds timeout, std::move_only_function<void()> done);
  void end_wait(const std::string& run_id, WaitId id);

  // Errors: not_found, conflict when the app is another one by now, unavailable. `generation` is not looked at for a
  // subscription to all apps.
  void subscribe(Subscription subscription, std::uint64_t generation, Done<> done);
  void unsubscribe(std::string id, std::string user, Done<> done);  // not_found, also when it is another user's
  // The sink's connection has ended.
  void drop_sink(std::shared_ptr<EventSink> sink);

 private:
  struct App;
  using AppPtr = std::unique_ptr<App>;

  // Events are queued and worked off one after another, so an effect may cause events without recursion.
  void feed(App& app, core::Event event);
  void clock_was_set();
  void feed_all(const core::Event& event);
  void work_off_events();
  void carry_out(App& app, std::vector<core::Effect> effects);
  void carry_out(App& app, const core::Effect& effect);
  void delete_app(App& app);
  void arm_app_timer(App& app, const core::effect::ArmTimer& timer);
  void start_run(App& app, core::RunNumber number);
  void settle_limits(App& app);
  void prune_outputs(App& app);
  void publish(App& app);
  [[nodiscard]] store::SavedApp row_of(App& app);
  void save_state(App& app);
  void save_state(App& app, Done<> done);
  void write_definition(std::shared_ptr<const core::AppDefinition> definition, Done<> done);

  [[nodiscard]] Result<void> check_dependencies(const core::AppDefinition& definition) const;
  [[nodiscard]] core::UnmetDependencies unmet_dependencies(const core::AppDefinition& definition) const;
  [[nodiscard]] App* instance_of(const std::string& name, std::uint32_t instance);
  void for_each_instance(const std::string& name, const std::function<void(App&)>& action);
  App& add_instance(const App& first, std::uint32_t instance);
  void scale(const std::string& name);
  void redefine(const std::string& name, const std::shared_ptr<const core::AppDefinition>& definition);
  void instance_deleted(const std::string& name, std::uint32_t instance, std::uint32_t count);

  void restart(App& app);
  void roll(const std::string& name, bool all = false);
  void roll_next(const std::string& name);
  void roll_on(App& app);
  void stop_roll(const std::string& name, const std::string& why);
  void end_roll(const std::string& name);
  void resume_rolls();

  void restore_dependencies(const std::string& name);
  void tell_dependants(const std::string& name);
  void expect_dependencies();
  void settle_dependencies();

  void follow_readiness(App& app);
  void line_found(const runtime::RunId& id);
  void watchdog_expired(const runtime::RunId& id);
  void notified(LiveRun& run, const runtime::Notification& what, NotifySockets::Taken taken);
  void change_main(LiveRun& run, std::int32_t pid);

  [[nodiscard]] EventHub::Directory event_directory();
  [[nodiscard]] EventApp event_app(const App& app);
  void publish_notice(App& app, const core::effect::Publish& notice);
  void tell_gone(App& app, const LiveRun& run);
  // A subscription that comes with a registration: kept until place_subscription(), which the request calls when the
  // app is there and nothing of it is started.
  [[nodiscard]] Done<AppViewPtr> with_subscription(std::string name, Subscription subscription, Done<AppViewPtr> done);
  void place_subscription(const std::string& name);
  void admit(core::AppDefinition definition, Expected expected, std::optional<Subscription> subscription,
             Done<AppViewPtr> done);

  void run_created(const LiveRun& run);
  void run_started(LiveRun& run);
  void run_failed(LiveRun& run, std::string reason);
  void run_exited(LiveRun& run);
  void orphan_gone(const LiveRun& run);
  void run_gone(LiveRun& run);
  void record(const LiveRun& run, store::StateStore::Done done);
  [[nodiscard]] App* app_of(const LiveRun& run);  // whose newest or handed-over run it is
  [[nodiscard]] LiveRun* live_run(const App& app, core::RunNumber number);
  [[nodiscard]] LiveRun* find_forgotten(App& app, core::RunNumber number);

  void create_on_demand(OnDemandRequest request, bool awaited, Done<RunTicket> started, Done<FinishedRun> finished);
  [[nodiscard]] Result<std::string> on_demand_name(const OnDemandRequest& request) const;
  void answer_started(App& app, const Error* failure);
  void watch_unattended(App& app);
  void answer_finished(App& app);

  [[nodiscard]] App* find(const std::string& name, std::uint64_t generation);
  [[nodiscard]] Result<App*> find_expected(const std::string& name, std::uint64_t generation);
  App& add_app(std::shared_ptr<const core::AppDefinition> definition);
  void take_definition(core::AppDefinition definition, Expected expected, std::optional<AttachTarget> target,
                       Done<AppViewPtr> done);
  void find_target(core::AppDefinition definition, Expected expected, Done<AppViewPtr> done);
  void write_new(std::shared_ptr<const core::AppDefinition> definition, std::optional<AttachTarget> target,
                 Done<> done);
  void write_changed(App& app, std::shared_ptr<const core::AppDefinition> definition,
                     std::optional<AttachTarget> target, Done<> done);
  void definition_saved(std::shared_ptr<const core::AppDefinition> definition, std::uint64_t generation,
                        std::optional<AttachTarget> target, Done<AppViewPtr> done);
  void change_status(App& app, bool enabled, Done<bool> done);
  void ask_restart(App& app, Done<> done);
  void carry_out_restart(App& app);
  void remove_run(App& app, Done<> done);
  void when_settled(App& app, Done<AppViewPtr> done);

  // Requests that change one app happen one after another: an action must end with release_name().
  void with_name(const std::string& name, std::move_only_function<void()> action);
  template <typename T>
  [[nodiscard]] bool is_crowded(const std::string& name, Done<T>& done);
  void release_name(const std::string& name);
  template <typename T>
  Done<T> releasing(std::string name, Done<T> done);

  Result<void> load();
  struct SavedRow;
  using SavedRows = std::unordered_map<std::string, SavedRow>;
  void load_registered(std::shared_ptr<const core::AppDefinition> definition, const SavedRows& rows,
                       std::shared_ptr<const InvalidDefinition> invalid);
  void load_invalid(const std::string& name, InvalidDefinition invalid, const SavedRows& rows);
  void load_run(const SavedRow& row);
  void load_app(App& app, const SavedRow* row, bool on_demand);
  void take_saved_state(App& app, const std::string& text);

  App& add_placeholder(const std::string& key, std::shared_ptr<const InvalidDefinition> invalid);
  [[nodiscard]] bool may_be_of_unread(const std::string& key) const;
  void adopt_unread(const std::string& key);
  void leave_unrecovered(App& app);
  void reread(std::vector<std::string> names);
  void take_reread(const std::vector<std::string>& names, store::DefinitionStore::Loaded loaded);
  void mend(const std::string& name, std::shared_ptr<const core::AppDefinition> definition);
  void mend_placeholder(App& app, const core::AppDefinition& definition);
  void watch_definitions();
  void recover(const std::vector<runtime::KnownRun>& known);
  void recover_app(App& app, const std::vector<const runtime::KnownRun*>& runs);
  void adopt_orphan(const runtime::KnownRun& run, const runtime::RunTag& tag);
  void end_check(const runtime::KnownRun& run, const runtime::RunTag& tag);
  void sort_outputs();

  EngineOptions options_;
  store::DefinitionStore& definitions_;
  store::StateStore& states_;
  std::shared_ptr<TaskBudget> task_budget_ = std::make_shared<TaskBudget>();
  AppDirectory directory_;
  runtime::OutputFiles outputs_;
  runtime::LaunchOptions launch_;

  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  Timers timers_;
  OutputWatch watch_;
  RunSupervisor supervisor_;
  EventHub hub_;
  HealthChecks health_;
  NotifySockets notify_;
  Watchdogs watchdogs_;
  LineWatch lines_;
  DefinitionWatch definition_watch_;
  std::shared_ptr<const InvalidDefinition> unread_folder_;  // the folder of definitions, when it could not be read
  std::unordered_map<std::string, AppPtr> apps_;
  DependencyGraph dependencies_;
  bool recovering_ = false;
  struct Roll {
    std::uint32_t instance = 0;  // whose turn it is
    bool asked = false;          // it was told to restart
    TimerId timer = 0;           // 0: between two turns
  };
  std::unordered_map<std::string, Roll> rolls_;
  std::unordered_set<std::string> taken_cgroups_;  // of the runs that the keeper knew when this daemon came
  std::unordered_map<std::string, core::RunNumber> orphan_numbers_;  // highest run of a deleted app that still lives
  struct QueuedEvent {
    std::string app;
    std::uint64_t generation = 0;
    core::Event event;
  };
  std::deque<QueuedEvent> events_;
  struct ArrivingSubscription {
    Subscription subscription;
    std::optional<Error> refusal;
    bool placed = false;
  };
  std::unordered_map<std::string, ArrivingSubscription> arriving_;  // by app: of the registration that is under way
  bool working_off_ = false;
  std::unordered_map<std::string, std::deque<std::move_only_function<void()>>> busy_names_;
  std::uint64_t last_generation_ = 0;
  mutable std::mutex zone_mutex_;  // held for a copy; the engine thread itself reads options_.policy.zone
  core::Zone zone_;
  std::atomic<std::int32_t> keeper_pid_{0};
  std::atomic<WaitId> last_wait_{0};
  std::thread thread_;
};

}  // namespace appmesh::engine

// Runs as the engine sees them: start one, stop all of its processes, know when it is gone. It owns the keeper's
// connection, the cgroups and the table of live runs; apps are known here by name and generation only. Used only on the
// engine thread; every report comes through Handlers, never from inside a call.
//
//   start ─► starting ─► alive ─► exited (main process) ─► gone (no process left)
//                │                    stop: TERM to all, KILL to all after the grace
//                └─ start failed
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "core/lifecycle.h"
#include "engine/attach.h"
#include "engine/os_users.h"
#include "engine/timers.h"
#include "platform/cgroup.h"
#include "platform/terminal.h"
#include "runtime/keeper_client.h"
#include "runtime/launch.h"
#include "runtime/run_tag.h"

namespace appmesh::engine {

struct LiveRun {
  enum class Main : std::uint8_t { starting, alive, exited };

  runtime::RunId id;
  runtime::RunTag tag;
  std::uint64_t app_generation = 0;  // 0: of no app (it was deleted, or never known)
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;
  core::WallTime started{};
  Main main = Main::starting;
  std::string stop_reason;  // for the history
  std::string note;         // more about the exit than its code: "out of memory"
  std::optional<runtime::RunExit> exit;

  std::optional<platform::Cgroup> cgroup;  // held open while the run is young or ending, else found by tag.cgroup

  platform::CgroupLimits limits;  // as last set; of a run of an earlier daemon see limits_known
  bool limits_known = true;

  std::optional<platform::TerminalSize> terminal_size;  // it is to have a terminal of that size
  platform::UniqueFd terminal;                          // our end of it, until the one who asked for it takes it

  platform::UniqueFd notify;  // its notify socket, until somebody reads it

  bool spawn_asked = false;  // false while its OS user is looked up
  bool stop_asked = false;
  bool killed = false;
  bool draining = false;
  bool scanning = false;  // a look at /proc is under way
  bool in_doubt = false;  // the keeper was lost while it was starting or alive; the next list tells
  std::optional<std::chrono::seconds> stop_when_started;
  TimerId grace_timer = 0;
  TimerId recheck_timer = 0;
  std::vector<AttachTarget> members;  // seen in /proc when it has no cgroup: its own even when their parent is gone
  std::unique_ptr<boost::asio::posix::stream_descriptor> emptied;  // cgroup.events of a run that is ending
};

// What a definition asks of the cgroup of its runs.
[[nodiscard]] platform::CgroupLimits limits_of(const core::AppDefinition& definition);

class RunSupervisor {
 public:
  struct Handlers {
    // The one report from inside a call: a run of an app has its id and its key, and cannot have used them yet.
    std::function<void(const LiveRun&)> on_created;
    std::function<void(LiveRun&)> on_started;
    std::function<void(LiveRun&, std::string reason)> on_start_failed;  // the run is forgotten after it
    std::function<void(LiveRun&)> on_exited;                            // exit is set
    std::function<void(LiveRun&)> on_gone;                              // the run is forgotten after it
    std::function<void()> on_keeper_lost;
    std::function<void()> on_keeper_back;
  };

  struct Options {
    std::filesystem::path home;
    std::filesystem::path keeper_program;
    std::string cgroup_parent;
    std::string older_cgroup_parent;  // of runs that an older daemon started
    std::filesystem::path notify_directory;
    // The OS user that an owner's runs switch to, empty for the daemon's own; read at each start, must not wait.
    std::function<Result<std::string>(const std::string& owner)> exec_user;
  };

  RunSupervisor(boost::asio::io_context& context, Timers& timers, const runtime::OutputFiles& outputs, Options options,
                Handlers handlers);
  ~RunSupervisor();

  // Connects and lists; `done` gets the runs the keeper knows, oldest first. Called once, before anything else.
  void open(runtime::KeeperClient::ListAnswer done);
  // Takes a run found by open(): alive or exited. The handlers do not hear of it again but for its exit and its end.
  LiveRun& adopt_known(const runtime::KnownRun& run, const runtime::RunTag& tag, std::uint64_t app_generation);

  // Takes a run whose exit is on record and which the keeper has forgotten: drain() ends what is left of it.
  LiveRun& adopt_ended(const runtime::RunId& id, const runtime::RunTag& tag, std::uint64_t app_generation);

  LiveRun& start(const core::AppDefinition& definition, std::uint64_t app_generation, core::RunNumber number,
                 const runtime::LaunchOptions& options, runtime::RunKind kind = runtime::RunKind::app,
                 bool awaited = false, std::optional<platform::TerminalSize> terminal = std::nullopt);
  using AttachAnswer = std::move_only_function<void(Result<AttachTarget>)>;
  // Whether an owner's app may adopt the process; answers at once or later on the engine thread. Errors: see
  // check_attachable(), and permission_denied for a process of a run.
  void find_attachable(pid_t pid, const std::string& owner, AttachAnswer done);
  // The same as start(), with a process that already runs.
  LiveRun& attach(const core::AppDefinition& definition, std::uint64_t app_generation, core::RunNumber number,
                  const AttachTarget& target);
  // New limits for a run that lives. False: its cgroup cannot take them, only a new run can.
  [[nodiscard]] bool change_limits(LiveRun& run, const platform::CgroupLimits& limits);
  // `signal_number` opens the end: TERM, or ABRT for a run that hangs.
  void stop(LiveRun& run, std::chrono::seconds grace, std::string reason, int signal_number = SIGTERM);
  // After the main process has gone: on_gone when nothing of the run is left (or at once when leftovers may live).
  void drain(LiveRun& run, std::chrono::seconds grace, core::Leftovers leftovers);
  // The keeper may drop its record: the exit is stored.
  void forget(const runtime::RunId& id) { keeper_.forget(id); }

  // Whether a process belongs to the run. nullopt: there is no such process (any more).
  [[nodiscard]] std::optional<bool> owns(const LiveRun& run, pid_t pid) const;
  // Another process of the run stands for it from now on. Errors: it is not of this run, or the keeper refused.
  void change_main(LiveRun& run, pid_t pid, runtime::KeeperClient::Answer done);
  // Descriptors that the keeper holds for a run (keeper/protocol.h); `descriptor` is borrowed.
  void keep(const runtime::RunId& id, int descriptor);
  void ask_kept(const runtime::RunId& id, runtime::KeeperClient::KeptAnswer done);

  [[nodiscard]] LiveRun* find(const runtime::RunId& id);
  void for_each_run(const std::function<void(const LiveRun&)>& action) const {
    for (const auto& [id, run] : runs_) action(*run);
  }
  // Removes cgroups that belong to no live run (after a crash).
  void remove_stray_cgroups();
  [[nodiscard]] std::int32_t keeper_pid() const { return keeper_.keeper_pid(); }
  [[nodiscard]] const platform::CgroupTree& cgroups() const { return cgroups_; }

 private:
  void launch(LiveRun& run, const core::AppDefinition& definition, const runtime::LaunchOptions& options,
              const platform::User* user);
  [[nodiscard]] Result<void> enter_cgroup(LiveRun& run, const core::AppDefinition& definition,
                                          std::vector<platform::UniqueFd>& v1_procs);
  void fail_later(const LiveRun& run, std::string reason);
  [[nodiscard]] bool manages(pid_t pid) const;
  struct Marks;
  [[nodiscard]] static Marks marks_of(pid_t pid);
  [[nodiscard]] bool carries(const Marks& marks, const LiveRun& run, bool trust_environment) const;
  [[nodiscard]] Result<runtime::NotifyLaunch> open_notify(LiveRun& run, const core::AppDefinition& definition,
                                                          const platform::User* user);
  void spawned(const runtime::RunId& id, std::expected<runtime::SpawnedRun, runtime::SpawnFailure> result);
  void fail_start(LiveRun& run, std::string reason);
  void take_exit(LiveRun& run, const runtime::RunExit& exit);
  void keeper_lost();
  void reconnect();
  void reconcile(const std::vector<runtime::KnownRun>& known);
  void signal_all(LiveRun& run, int signal_number);
  void arm_grace(LiveRun& run, std::chrono::seconds grace);
  [[nodiscard]] std::optional<bool> is_populated(LiveRun& run);
  void check_gone(LiveRun& run);
  void watch_cgroup(LiveRun& run, const platform::Cgroup& cgroup);
  void scan_processes(LiveRun& run, int signal_number);
  void finish(LiveRun& run);
  void release_cgroup(LiveRun& run);
  [[nodiscard]] const platform::Cgroup* cgroup_of(LiveRun& run);
  void hold(LiveRun& run, platform::Cgroup cgroup);

  boost::asio::io_context& context_;
  Timers& timers_;
  const runtime::OutputFiles& outputs_;
  Options options_;
  Handlers handlers_;
  platform::CgroupTree cgroups_;
  platform::CgroupPool pool_;
  OsUsers os_users_;
  runtime::KeeperClient keeper_;
  std::unordered_map<runtime::RunId, std::unique_ptr<LiveRun>, runtime::RunIdHash> runs_;
  std::deque<runtime::RunId> holders_;  // runs whose cgroup is held open, oldest first
  std::chrono::milliseconds reconnect_wait_{0};
  std::unique_ptr<boost::asio::thread_pool> scanner_;  // made when a host without cgroups needs one
};

}  // namespace appmesh::engine

// Past 500 lines until what scans processes and watches cgroups is a unit of its own.
#include "engine/run_supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <unordered_set>
#include <utility>

#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "core/instance_name.h"
#include "platform/clock.h"
#include "platform/process.h"
#include "platform/random.h"

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t kProcessKeyBytes = 16;  // 128 bits, docs/wire.md#tasks
constexpr auto kRecheckWait = 20ms;           // only where the kernel gives no event for an emptied group
constexpr auto kMaxReconnectWait = 5s;
constexpr int kMaxGenerations = 1000;              // of descendants
constexpr std::string_view kLimitedPrefix = "l-";  // of cgroups that are made for limits; remembered in the tag
constexpr std::size_t kKeptOpen = 16;              // cgroups of live runs held open

// Processes of a run on a host without cgroups: those that lead or share its session, carry its id from birth,
// or descend from its first process or from one that was found earlier (`roots`).
std::vector<AttachTarget> processes_of_run(const runtime::RunId& id, pid_t leader, std::vector<AttachTarget> roots) {
  const platform::ProcFs proc;
  std::vector<AttachTarget> found;
  const auto all = proc.list_processes();
  if (!all) return found;
  std::unordered_map<pid_t, const platform::ProcessStat*> by_pid;
  for (const auto& process : *all) by_pid.emplace(process.pid, &process);
  std::erase_if(roots, [&](const AttachTarget& root) {
    const auto known = by_pid.find(root.pid);
    return known == by_pid.end() || known->second->start_ticks != root.start_ticks;
  });
  const auto descends = [&](pid_t pid) {
    for (int steps = 0; !roots.empty() && pid > 1 && steps < kMaxGenerations; ++steps) {
      if (std::ranges::find(roots, pid, &AttachTarget::pid) != roots.end()) return true;
      const auto known = by_pid.find(pid);
      if (known == by_pid.end()) return false;
      pid = known->second->ppid;
    }
    return false;
  };
  const std::string id_text = id.text();
  for (const auto& process : *all) {
    if (process.is_zombie() || process.kernel_thread) continue;
    if ((leader > 0 && process.session == leader) || descends(process.pid)) {
      found.push_back({process.pid, process.start_ticks});
      continue;
    }
    const auto variable = proc.environment_variable(process.pid, {runtime::kRunMark, runtime::kOldRunMark});
    if (variable && *variable && **variable == id_text) found.push_back({process.pid, process.start_ticks});
  }
  return found;
}

bool is_limited(const LiveRun& run) {
  return run.tag.cgroup.starts_with(kLimitedPrefix);
}

}  // namespace

platform::CgroupLimits limits_of(const core::AppDefinition& definition) {
  if (!definition.resource_limit) return {};
  return {.memory_mb = definition.resource_limit->memory_mb,
          .memory_virt_mb = definition.resource_limit->memory_virt_mb,
          .cpu_shares = definition.resource_limit->cpu_shares,
          .pids = definition.resource_limit->pids};
}

RunSupervisor::RunSupervisor(boost::asio::io_context& context, Timers& timers, const runtime::OutputFiles& outputs,
                             Options options, Handlers handlers)
    : context_(context),
      timers_(timers),
      outputs_(outputs),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      cgroups_(
          platform::CgroupTree::open({.parent = options_.cgroup_parent, .older_parent = options_.older_cgroup_parent})),
      pool_(cgroups_),
      os_users_(context, timers),
      keeper_(context, options_.home, options_.keeper_program,
              {.on_exited =
                   [this](const runtime::RunId& id, const runtime::RunExit& exit) {
                     if (LiveRun* run = find(id)) take_exit(*run, exit);
                   },
               .on_lost = [this] { keeper_lost(); }}) {}

RunSupervisor::~RunSupervisor() {
  if (scanner_) scanner_->join();
}

LiveRun* RunSupervisor::find(const runtime::RunId& id) {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

void RunSupervisor::open(runtime::KeeperClient::ListAnswer done) {
  keeper_.connect([this, done = std::move(done)](Result<void> connected) mutable {
    if (!connected) return done(std::unexpected(connected.error()));
    keeper_.list([done = std::move(done)](Result<std::vector<runtime::KnownRun>> known) mutable {
      if (known) std::ranges::sort(*known, {}, &runtime::KnownRun::sequence);
      done(std::move(known));
    });
  });
}

LiveRun& RunSupervisor::adopt_known(const runtime::KnownRun& known, const runtime::RunTag& tag,
                                    std::uint64_t app_generation) {
  auto run = std::make_unique<LiveRun>();
  run->id = known.id;
  run->tag = tag;
  run->app_generation = app_generation;
  run->pid = known.pid;
  run->start_ticks = known.start_ticks;
  run->started = known.started;
  run->main = LiveRun::Main::alive;
  run->spawn_asked = true;
  run->limits_known = false;
  LiveRun& taken = *run;
  runs_.insert_or_assign(known.id, std::move(run));
  if (known.exit)
    boost::asio::post(context_, [this, id = known.id, exit = *known.exit] {
      if (LiveRun* exited = find(id)) take_exit(*exited, exit);
    });
  return taken;
}

LiveRun& RunSupervisor::adopt_ended(const runtime::RunId& id, const runtime::RunTag& tag,
                                    std::uint64_t app_generation) {
  auto run = std::make_unique<LiveRun>();
  run->id = id;
  run->tag = tag;
  run->app_generation = app_generation;
  run->main = LiveRun::Main::exited;
  run->spawn_asked = true;
  run->limits_known = false;
  LiveRun& taken = *run;
  runs_.insert_or_assign(id, std::move(run));
  return taken;
}

LiveRun& RunSupervisor::start(const core::AppDefinition& definition, std::uint64_t app_generation,
                              core::RunNumber number, const runtime::LaunchOptions& options, runtime::RunKind kind,
                              bool awaited, std::optional<platform::TerminalSize> terminal) {
  auto owned = std::make_unique<LiveRun>();
  LiveRun& run = *owned;
  run.id = runtime::RunId::random();
  run.app_generation = app_generation;
  run.tag.app = definition.name;
  run.tag.instance = core::split_instance(definition.name).instance;
  run.tag.run_number = number;
  run.tag.kind = kind;
  run.tag.awaited = awaited;
  run.tag.terminal = terminal.has_value();
  // On-demand runs have one definition for life.
  if (kind == runtime::RunKind::app && definition.status != core::AppStatus::not_available)
    run.tag.made_of = core::run_fingerprint(definition);
  run.terminal_size = terminal;
  if (kind == runtime::RunKind::app) run.tag.process_key = platform::random_hex(kProcessKeyBytes);
  runs_.emplace(run.id, std::move(owned));
  if (kind == runtime::RunKind::app) handlers_.on_created(run);

  if (!definition.docker_image.empty()) {
    fail_later(run, "docker: no container engine is supported yet");
    return run;
  }
  auto user = options_.exec_user ? options_.exec_user(definition.owner) : Result<std::string>{};
  if (!user) {
    fail_later(run, user.error().message);
  } else if (user->empty()) {
    launch(run, definition, options, nullptr);
  } else {
    os_users_.find(*user, [this, id = run.id, definition, options](const OsUsers::Found& found) {
      LiveRun* ready = find(id);
      if (ready == nullptr || ready->main != LiveRun::Main::starting) return;
      if (!found) return fail_later(*ready, found.error().message);
      // Switching to oneself would only lose what root keeps.
      const bool same = (*found)->uid == ::geteuid();
      launch(*ready, definition, options, same ? nullptr : found->get());
    });
  }
  return run;
}

void RunSupervisor::launch(LiveRun& run, const core::AppDefinition& definition, const runtime::LaunchOptions& options,
                           const platform::User* user) {
  std::vector<platform::UniqueFd> v1_procs;
  if (auto entered = enter_cgroup(run, definition, v1_procs); !entered) return fail_later(run, entered.error().message);
  const auto notify = open_notify(run, definition, user);
  if (!notify) return fail_later(run, notify.error().message);
  platform::Terminal terminal;
  if (run.terminal_size) {
    auto opened = platform::open_terminal(*run.terminal_size, user != nullptr ? user->uid : ::geteuid(),
                                          user != nullptr ? user->gid : ::getegid());
    if (!opened) return fail_later(run, opened.error().message);
    terminal = std::move(*opened);
  }
  auto launch =
      runtime::prepare_launch(definition, run.id, run.tag, outputs_, options, user, *notify, terminal.slave.get());
  if (!launch) return fail_later(run, launch.error().message);
  if (terminal.master) launch->request.kept_fds.push_back(terminal.master.get());
  run.terminal = std::move(terminal.master);
  if (run.cgroup) {
    launch->request.cgroup_fd = run.cgroup->directory_fd();
    for (const auto& fd : v1_procs) launch->request.cgroup_tasks_fds.push_back(fd.get());
  }
  run.spawn_asked = true;
  // Not through the queue: the run's end may come in the same read, and must not be told before its start.
  keeper_.spawn(launch->request, [this, id = run.id](auto result) { spawned(id, std::move(result)); });
}

// A limited run gets a cgroup of its own, as what was written into one would stay behind in the pool. A run without
// limits starts in any case: its processes are then found as on a host without cgroups.
Result<void> RunSupervisor::enter_cgroup(LiveRun& run, const core::AppDefinition& definition,
                                         std::vector<platform::UniqueFd>& v1_procs) {
  const platform::CgroupLimits limits =
      run.tag.kind == runtime::RunKind::app ? limits_of(definition) : platform::CgroupLimits{};
  if (auto able = cgroups_.can_limit(limits); !able) return fail(able.error().kind, "cgroup: " + able.error().message);
  if (!cgroups_.is_available()) return {};
  auto made = limits.empty() ? pool_.take()
                             : cgroups_.create(fmt::format("{}{}", kLimitedPrefix, platform::random_hex(8)),
                                               platform::CgroupKind::limited);
  Result<void> entered = made ? Result<void>{} : std::unexpected(made.error());
  if (made) {
    auto opened = made->open_v1_procs();
    if (opened)
      v1_procs = std::move(*opened);
    else
      entered = std::unexpected(opened.error());
  }
  if (!entered && limits.empty()) {
    spdlog::warn("{} runs without a cgroup: {}", run.tag.app, entered.error().message);
    return {};
  }
  if (!entered) return fail(entered.error().kind, "cgroup: " + entered.error().message);
  run.tag.cgroup = made->name();
  hold(run, std::move(*made));
  if (limits.empty()) return {};
  run.limits = limits;
  if (auto set = run.cgroup->set_limits(limits); !set) return fail(set.error().kind, "cgroup: " + set.error().message);
  return {};
}

bool RunSupervisor::change_limits(LiveRun& run, const platform::CgroupLimits& limits) {
  if (run.limits_known && run.limits == limits) return true;
  if (!run.limits_known && (run.tag.cgroup.empty() || (limits.empty() && !is_limited(run)))) return true;
  if (!is_limited(run) || cgroup_of(run) == nullptr) return false;
  if (auto changed = run.cgroup->change_limits(limits); !changed) {
    spdlog::warn("limits of {} cannot change while it runs: {}", run.tag.app, changed.error().message);
    return false;
  }
  run.limits = limits;
  run.limits_known = true;
  return true;
}

// Reports come from the queue, never from inside a call.
void RunSupervisor::fail_later(const LiveRun& run, std::string reason) {
  boost::asio::post(context_, [this, id = run.id, reason = std::move(reason)]() mutable {
    if (LiveRun* failed = find(id)) fail_start(*failed, std::move(reason));
  });
}

void RunSupervisor::spawned(const runtime::RunId& id,
                            std::expected<runtime::SpawnedRun, runtime::SpawnFailure> result) {
  LiveRun* run = find(id);
  if (run == nullptr || run->main != LiveRun::Main::starting) return;
  if (!result) {
    // The keeper may have started it before it went away: the next list tells.
    if (result.error().error == ECONNRESET) return;
    return fail_start(*run, result.error().message);
  }
  run->pid = result->pid;
  run->start_ticks = result->start_ticks;
  run->started = result->started;
  run->main = LiveRun::Main::alive;
  handlers_.on_started(*run);
  if (run->stop_when_started) stop(*run, *run->stop_when_started, {});
}

void RunSupervisor::fail_start(LiveRun& run, std::string reason) {
  release_cgroup(run);
  handlers_.on_start_failed(run, std::move(reason));
  runs_.erase(run.id);
}

void RunSupervisor::take_exit(LiveRun& run, const runtime::RunExit& exit) {
  if (run.main == LiveRun::Main::exited) return;  // seen twice: by the event and in a list
  if (run.main == LiveRun::Main::starting) {      // the answer to the spawn was lost with an older keeper
    run.main = LiveRun::Main::alive;
    handlers_.on_started(run);
  }
  run.main = LiveRun::Main::exited;
  run.exit = exit;
  if (is_limited(run))
    if (const auto* cgroup = cgroup_of(run); cgroup != nullptr && cgroup->oom_kills() > 0) run.note = "out of memory";
  handlers_.on_exited(run);
}

void RunSupervisor::stop(LiveRun& run, std::chrono::seconds grace, std::string reason, int signal_number) {
  if (run.stop_reason.empty()) run.stop_reason = std::move(reason);
  if (run.stop_asked) return;
  if (run.main == LiveRun::Main::starting) {
    run.stop_when_started = grace;
    return;
  }
  run.stop_asked = true;
  signal_all(run, signal_number);
  arm_grace(run, grace);
}

void RunSupervisor::drain(LiveRun& run, std::chrono::seconds grace, core::Leftovers leftovers) {
  if (run.draining) return;
  run.draining = true;
  if (leftovers == core::Leftovers::leave && !run.stop_asked) {
    boost::asio::post(context_, [this, id = run.id] {
      if (LiveRun* left = find(id)) finish(*left);
    });
    return;
  }
  if (const auto populated = run.stop_asked ? std::nullopt : is_populated(run)) {
    // The usual case, an app that leaves nothing behind, costs one read.
    if (!*populated) {
      boost::asio::post(context_, [this, id = run.id] {
        if (LiveRun* ended = find(id)) finish(*ended);
      });
      return;
    }
    run.stop_asked = true;
    signal_all(run, SIGTERM);
    arm_grace(run, grace);
  } else if (!run.stop_asked) {
    run.stop_asked = true;
    scan_processes(run, SIGTERM);
    arm_grace(run, grace);
  }
  boost::asio::post(context_, [this, id = run.id] {
    if (LiveRun* ending = find(id)) check_gone(*ending);
  });
}

void RunSupervisor::signal_all(LiveRun& run, int signal_number) {
  if (const auto* cgroup = cgroup_of(run)) {
    const bool done =
        signal_number == SIGKILL ? cgroup->kill_all().has_value() : cgroup->signal_all(signal_number).has_value();
    if (done) return;
  }
  scan_processes(run, signal_number);
}

void RunSupervisor::arm_grace(LiveRun& run, std::chrono::seconds grace) {
  timers_.cancel(run.grace_timer);
  run.grace_timer = timers_.after(grace, [this, id = run.id] {
    LiveRun* late = find(id);
    if (late == nullptr) return;
    late->grace_timer = 0;
    late->killed = true;
    signal_all(*late, SIGKILL);
    if (late->draining) check_gone(*late);
  });
}

// nullopt: it has no cgroup, or none any more because somebody else has removed it.
std::optional<bool> RunSupervisor::is_populated(LiveRun& run) {
  const auto* cgroup = cgroup_of(run);
  if (cgroup == nullptr) return std::nullopt;
  if (const auto populated = cgroup->is_populated()) return *populated;
  std::erase(holders_, run.id);
  run.cgroup.reset();
  run.tag.cgroup.clear();
  return std::nullopt;
}

void RunSupervisor::check_gone(LiveRun& run) {
  if (!run.draining) return;
  const auto populated = is_populated(run);
  if (!populated) return scan_processes(run, 0);
  if (!*populated) return finish(run);
  watch_cgroup(run, *run.cgroup);
}

void RunSupervisor::watch_cgroup(LiveRun& run, const platform::Cgroup& cgroup) {
  auto again = [this, id = run.id] {
    if (LiveRun* ending = find(id)) check_gone(*ending);
  };
  if (cgroup.directory_fd() < 0) {
    timers_.cancel(run.recheck_timer);
    run.recheck_timer = timers_.after(kRecheckWait, again);
    return;
  }
  if (!run.emptied) {
    const int events = ::openat(cgroup.directory_fd(), "cgroup.events", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (events < 0) {
      run.recheck_timer = timers_.after(kRecheckWait, again);
      return;
    }
    run.emptied = std::make_unique<boost::asio::posix::stream_descriptor>(context_, events);
  }
  // Reading arms the notice of the next change; what changed before the read is seen by it.
  char text[256];
  ::lseek(run.emptied->native_handle(), 0, SEEK_SET);
  const ssize_t got = ::read(run.emptied->native_handle(), text, sizeof text);
  if (got > 0 && std::string_view(text, static_cast<std::size_t>(got)).find("populated 0") != std::string_view::npos)
    return finish(run);
  run.emptied->async_wait(boost::asio::posix::stream_descriptor::wait_error,
                          [again](const boost::system::error_code& error) {
                            if (!error) again();
                          });
}

// Signals (or, with 0, only looks for) the processes of a run that has no cgroup, off the engine thread.
void RunSupervisor::scan_processes(LiveRun& run, int signal_number) {
  if (run.scanning && signal_number == 0) return;
  run.scanning = true;
  if (!scanner_) scanner_ = std::make_unique<boost::asio::thread_pool>(1);
  std::vector<AttachTarget> roots = run.members;
  roots.push_back({run.pid, run.start_ticks});
  boost::asio::post(*scanner_, [this, id = run.id, pid = run.pid, roots = std::move(roots), signal_number] {
    const platform::ProcFs proc;
    auto members = processes_of_run(id, pid, roots);
    for (const auto& member : members) {
      if (signal_number == 0) continue;
      if (const auto handle = platform::pidfd_open_checked(proc, member.pid, member.start_ticks)) [[maybe_unused]]
        const auto sent = platform::pidfd_send_signal(handle->get(), signal_number);
    }
    boost::asio::post(context_, [this, id, signal_number, members = std::move(members)]() mutable {
      LiveRun* scanned = find(id);
      if (scanned == nullptr) return;
      const std::size_t left = members.size();
      scanned->members = std::move(members);
      scanned->scanning = false;
      // After the look: what loses its parent by this signal is known by now.
      if (signal_number != 0 && scanned->main == LiveRun::Main::alive)
        keeper_.signal(id, keeper::SignalScope::group, signal_number, [](Result<void>) {});
      if (!scanned->draining) return;
      if (left == 0) return finish(*scanned);
      timers_.cancel(scanned->recheck_timer);
      scanned->recheck_timer = timers_.after(kRecheckWait, [this, id] {
        if (LiveRun* again = find(id)) check_gone(*again);
      });
    });
  });
}

void RunSupervisor::finish(LiveRun& run) {
  timers_.cancel(run.grace_timer);
  timers_.cancel(run.recheck_timer);
  run.emptied.reset();
  release_cgroup(run);
  const runtime::RunId id = run.id;
  handlers_.on_gone(run);
  runs_.erase(id);
}

void RunSupervisor::release_cgroup(LiveRun& run) {
  if (run.tag.cgroup.empty() || cgroup_of(run) == nullptr) return;
  std::erase(holders_, run.id);
  using Fate = platform::CgroupPool::Fate;
  const auto released = pool_.give_back(std::move(*run.cgroup), run.killed ? Fate::killed : Fate::untouched);
  run.cgroup.reset();
  if (!released && released.error().kind != ErrorKind::conflict)
    spdlog::warn("cgroup of a finished run of {}: {}", run.tag.app, released.error().message);
}

// Short runs are never looked up; of long ones only the youngest kKeptOpen cost a descriptor.
void RunSupervisor::hold(LiveRun& run, platform::Cgroup cgroup) {
  run.cgroup.emplace(std::move(cgroup));
  holders_.push_back(run.id);
  if (holders_.size() <= kKeptOpen) return;
  if (LiveRun* oldest = find(holders_.front())) oldest->cgroup.reset();
  holders_.pop_front();
}

const platform::Cgroup* RunSupervisor::cgroup_of(LiveRun& run) {
  if (run.tag.cgroup.empty()) return nullptr;
  if (!run.cgroup) {
    auto opened = cgroups_.open_existing(run.tag.cgroup);
    if (!opened) return nullptr;
    hold(run, std::move(*opened));
  }
  return &*run.cgroup;
}

void RunSupervisor::remove_stray_cgroups() {
  if (!cgroups_.is_available()) return;
  std::unordered_set<std::string> used;
  for (const auto& [id, run] : runs_) used.insert(run->tag.cgroup);
  const auto names = cgroups_.names();
  if (!names) return;
  for (const auto& name : *names) {
    // One that is still populated belongs to processes that an app was allowed to leave behind.
    if (!used.contains(name)) [[maybe_unused]]
      const auto removed = cgroups_.remove(name);
  }
}

void RunSupervisor::keeper_lost() {
  spdlog::warn("the keeper went away, taking over with a new one");
  for (auto& [id, run] : runs_) run->in_doubt = run->spawn_asked && run->main != LiveRun::Main::exited;
  handlers_.on_keeper_lost();
  reconnect_wait_ = 0ms;
  reconnect();
}

void RunSupervisor::reconnect() {
  open([this](Result<std::vector<runtime::KnownRun>> known) {
    if (known) {
      reconnect_wait_ = 0ms;
      reconcile(*known);
      handlers_.on_keeper_back();
      return;
    }
    spdlog::error("keeper: {}", known.error().message);
    if (keeper_.connected()) return;  // lost again while listing: keeper_lost() is on its way
    reconnect_wait_ = std::min<std::chrono::milliseconds>(kMaxReconnectWait, reconnect_wait_ * 2 + 50ms);
    timers_.after(reconnect_wait_, [this] { reconnect(); });
  });
}

void RunSupervisor::reconcile(const std::vector<runtime::KnownRun>& known) {
  std::unordered_set<runtime::RunId, runtime::RunIdHash> listed;
  for (const auto& entry : known) {
    listed.insert(entry.id);
    LiveRun* run = find(entry.id);
    if (run == nullptr) {
      if (entry.exit) forget(entry.id);  // its end was stored, the keeper just did not hear so
      continue;
    }
    if (run->main == LiveRun::Main::starting)
      spawned(entry.id, runtime::SpawnedRun{entry.pid, entry.start_ticks, entry.started});
    if (entry.exit) take_exit(*run, *entry.exit);
  }
  std::vector<runtime::RunId> missing;
  for (const auto& [id, run] : runs_) {
    if (run->in_doubt && !listed.contains(id)) missing.push_back(id);
    run->in_doubt = false;
  }
  for (const auto& id : missing) {
    LiveRun* run = find(id);
    if (run == nullptr || run->main == LiveRun::Main::exited) continue;
    if (run->main == LiveRun::Main::starting) {
      fail_start(*run, "the keeper was replaced during the start");
    } else {
      runtime::RunExit unknown;
      unknown.known = false;
      unknown.ended = platform::wall_now();
      take_exit(*run, unknown);
    }
  }
}

}  // namespace appmesh::engine

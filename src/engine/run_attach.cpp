// The part of the supervisor that makes a foreign process the run of an app.
#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "engine/run_supervisor.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/process.h"
#include "platform/random.h"

namespace appmesh::engine {

namespace {

constexpr std::size_t kProcessKeyBytes = 16;
constexpr std::uint64_t kCgroupFileBytes = 64 * 1024;

}  // namespace

void RunSupervisor::find_attachable(pid_t pid, const std::string& owner, AttachAnswer done) {
  auto check = [this, pid](uid_t uid) -> Result<AttachTarget> {
    const std::array protected_pids{::getpid(), static_cast<pid_t>(keeper_.keeper_pid())};
    auto target = check_attachable(pid, uid, protected_pids);
    if (target && manages(pid))
      return fail(ErrorKind::permission_denied, fmt::format("field 'pid': {} is managed already", pid));
    return target;
  };
  const auto user = options_.exec_user ? options_.exec_user(owner) : Result<std::string>{};
  if (!user) return done(fail(ErrorKind::permission_denied, "field 'pid': " + user.error().message));
  if (user->empty()) return done(check(::geteuid()));
  os_users_.find(*user, [check, done = std::move(done)](const OsUsers::Found& found) mutable {
    if (!found) return done(fail(ErrorKind::permission_denied, "field 'pid': " + found.error().message));
    done(check((*found)->uid));
  });
}

// What a process shows of the run that it belongs to.
struct RunSupervisor::Marks {
  pid_t pid = 0;
  std::string cgroups;
  std::optional<platform::ProcessStat> stat;
  std::string run_id;
};

RunSupervisor::Marks RunSupervisor::marks_of(pid_t pid) {
  const platform::ProcFs proc;
  Marks marks{.pid = pid};
  if (auto groups = platform::read_file(fmt::format("/proc/{}/cgroup", pid), kCgroupFileBytes))
    marks.cgroups = std::move(*groups);
  if (auto stat = proc.stat(pid)) marks.stat = *stat;
  if (auto carried = proc.environment_variable(pid, {runtime::kRunMark, runtime::kOldRunMark}); carried && *carried)
    marks.run_id = **carried;
  return marks;
}

bool RunSupervisor::carries(const Marks& marks, const LiveRun& run, bool trust_environment) const {
  if (run.main != LiveRun::Main::exited && run.pid == marks.pid) return true;
  if (marks.stat && run.pid != 0 && marks.stat->session == run.pid) return true;
  if (run.tag.cgroup.empty()) return trust_environment && marks.run_id == run.id.text();
  for (const auto& parent : {options_.cgroup_parent, options_.older_cgroup_parent}) {
    const std::string path = fmt::format("/{}/{}", parent, run.tag.cgroup);
    for (auto at = marks.cgroups.find(path); at != std::string::npos; at = marks.cgroups.find(path, at + 1)) {
      const char after = at + path.size() < marks.cgroups.size() ? marks.cgroups[at + path.size()] : '\n';
      if (after == '\n' || after == '/') return true;
    }
  }
  return trust_environment && marks.run_id == run.id.text();
}

// Any process of a run counts, not its first alone.
bool RunSupervisor::manages(pid_t pid) const {
  const Marks marks = marks_of(pid);
  return std::ranges::any_of(runs_, [&](const auto& entry) { return carries(marks, *entry.second, true); });
}

std::optional<bool> RunSupervisor::owns(const LiveRun& run, pid_t pid) const {
  const Marks marks = marks_of(pid);
  if (!marks.stat && pid != run.pid) return std::nullopt;
  return carries(marks, run, run.tag.cgroup.empty());  // anybody can put a variable into an environment
}

LiveRun& RunSupervisor::attach(const core::AppDefinition& definition, std::uint64_t app_generation,
                               core::RunNumber number, const AttachTarget& target) {
  auto owned = std::make_unique<LiveRun>();
  LiveRun& run = *owned;
  run.id = runtime::RunId::random();
  run.app_generation = app_generation;
  run.tag.app = definition.name;
  run.tag.run_number = number;
  run.tag.process_key = platform::random_hex(kProcessKeyBytes);
  run.tag.made_of = core::run_fingerprint(definition);  // as far as a restart is concerned, it is this app's process
  runs_.emplace(run.id, std::move(owned));
  handlers_.on_created(run);
  const auto refuse = [&](std::string reason) -> LiveRun& {
    fail_later(run, "attach: " + std::move(reason));
    return run;
  };

  if (!keeper_.connected()) return refuse("the keeper is not reachable");
  if (!platform::pidfd_open_checked(platform::ProcFs(), target.pid, target.start_ticks))
    return refuse("the process is gone");
  if (manages(target.pid)) return refuse("the process is managed already");
  std::vector<platform::UniqueFd> v1_procs;  // of a child; a process that lives is moved
  if (auto entered = enter_cgroup(run, definition, v1_procs); !entered) return refuse(entered.error().message);
  if (run.cgroup) {
    if (auto moved = move_into(*run.cgroup, target.pid); !moved) {
      if (!limits_of(definition).empty()) return refuse("cgroup: " + moved.error().message);
      spdlog::info("{} stays in the cgroup where it is: {}", target.pid, moved.error().message);
      release_cgroup(run);
      run.tag.cgroup.clear();
    }
  }
  // What it writes goes where it always went; readers of the run find an empty file.
  if (auto output = outputs_.open_for_run(definition.name, number); !output) return refuse(output.error().message);
  run.pid = target.pid;
  run.start_ticks = target.start_ticks;
  run.spawn_asked = true;
  keeper_.adopt(run.id, run.tag.encode(), target.pid, target.start_ticks,
                [this, id = run.id, target](Result<void> adopted) {
                  if (!adopted && adopted.error().kind == ErrorKind::unavailable) return;  // the next list tells
                  boost::asio::post(context_, [this, id, target, adopted = std::move(adopted)] {
                    LiveRun* taken = find(id);
                    if (taken == nullptr || taken->main != LiveRun::Main::starting) return;
                    if (!adopted) return fail_start(*taken, "attach: " + adopted.error().message);
                    spawned(id, runtime::SpawnedRun{target.pid, target.start_ticks, platform::wall_now()});
                  });
                });
  return run;
}

}  // namespace appmesh::engine

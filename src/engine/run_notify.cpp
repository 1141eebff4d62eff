// The part of the supervisor that gives a run its notify socket, and lets another process stand for it.
#include <utility>

#include <unistd.h>

#include "engine/run_supervisor.h"
#include "platform/process.h"
#include "platform/random.h"
#include "runtime/notify_socket.h"

namespace appmesh::engine {

namespace {

constexpr std::size_t kNameBytes = 12;  // of the socket: whoever knows it was told by the run

bool wants_notify(const core::AppDefinition& definition) {
  const bool by_notify = definition.readiness && definition.readiness->by == core::ReadinessKind::notify;
  return by_notify || definition.watchdog_seconds > 0;
}

}  // namespace

Result<runtime::NotifyLaunch> RunSupervisor::open_notify(LiveRun& run, const core::AppDefinition& definition,
                                                         const platform::User* user) {
  if (run.tag.kind != runtime::RunKind::app || !wants_notify(definition)) return runtime::NotifyLaunch{};
  run.tag.notify = platform::random_hex(kNameBytes);
  auto socket =
      runtime::open_notify_socket(options_.notify_directory, run.tag.notify, user != nullptr ? user->uid : ::geteuid(),
                                  user != nullptr ? user->gid : ::getegid());
  if (!socket) return std::unexpected(socket.error());
  run.notify = std::move(socket->descriptor);
  return runtime::NotifyLaunch{run.notify.get(), std::move(socket->address)};
}

void RunSupervisor::change_main(LiveRun& run, pid_t pid, runtime::KeeperClient::Answer done) {
  if (run.main != LiveRun::Main::alive || run.pid == pid) return done({});
  const auto stat = platform::ProcFs().stat(pid);
  if (!stat || !owns(run, pid).value_or(false))
    return done(fail(ErrorKind::permission_denied, "the process is not of this run"));
  keeper_.set_main(
      run.id, pid, stat->start_ticks,
      [this, id = run.id, pid, ticks = stat->start_ticks, done = std::move(done)](Result<void> changed) mutable {
        if (LiveRun* living = find(id); living != nullptr && changed) {
          living->pid = pid;
          living->start_ticks = ticks;
        }
        done(std::move(changed));
      });
}

void RunSupervisor::keep(const runtime::RunId& id, int descriptor) {
  keeper_.keep(id, {descriptor}, [](Result<void>) {});
}

void RunSupervisor::ask_kept(const runtime::RunId& id, runtime::KeeperClient::KeptAnswer done) {
  keeper_.ask_kept(id, std::move(done));
}

}  // namespace appmesh::engine

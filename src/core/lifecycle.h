// The one place that decides what happens to an app: step(state, event, now) -> effects. The engine feeds events in and
// carries the effects out, in order. Pure: no clock, no I/O, no randomness; everything is a value. Any thread.
//
//   idle ──due──► (blocked: another app is not there yet) ──► starting ──RunStarted──► running ──RunExited──► draining
//   ──RunGone──► idle / waiting / finished
//                    │ StartFailed                │ Disabled, Restart…, Removed, timeout
//                    ▼                            ▼
//                 waiting (back-off)           stopping ──RunExited──► draining
//
// A run is `gone` when its main process has exited AND no process of it is left AND its last output is stored; no new
// run of the app starts before that. The one exception is the handover of a recurring app with retention
// (docs/wire.md#recurring): its old run goes on as `outgoing_run` beside the new one. On-demand runs
// (docs/wire.md#on-demand) are apps with one run, a time-out and a lifetime. Waits of a given length are counted in
// steady time and only schedules in wall time, so a clock that is set cuts no wait and stretches none.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/app_definition.h"
#include "core/schedule.h"
#include "core/time.h"

namespace appmesh::core {

using RunNumber = std::uint64_t;  // counts the runs of one app from 1; 0: none

enum class Phase : std::uint8_t {
  idle,      // nothing runs and nothing is planned (disabled, standby after an exit, or dormant)
  waiting,   // a start is planned at `next_start`
  starting,  // the start was asked for
  running,
  stopping,  // a stop was asked for
  draining,  // the main process is gone, the rest of the run is being stopped
  removed,   // Delete was emitted
  blocked,   // due, but other apps that it depends on are not there yet (`waiting_for`)
};

enum class StopReason : std::uint8_t {
  none,
  disabled,
  restarted,
  removed,
  window,
  replaced,
  timeout,
  unhealthy,
  not_ready,  // not ready within its time: a failed start, the exit policy decides what follows
  watchdog,   // the run sent no sign of life: likewise
};

// One start, wall or steady: schedules are planned in wall time, back-off in steady time.
struct PlannedStart {
  WallTime wall;                     // for next_start_time, always set
  std::optional<SteadyTime> steady;  // set for a back-off: then this one decides
  bool operator==(const PlannedStart&) const = default;
};

// When the app's timer fires: exactly one of the two is set.
struct Alarm {
  std::optional<WallTime> wall;
  std::optional<SteadyTime> steady;
  bool operator==(const Alarm&) const = default;
};

struct OnDemand {
  std::chrono::seconds timeout{0};      // 0: no kill
  std::optional<SteadyTime> kill_at;    // set at start when timeout > 0
  std::optional<SteadyTime> remove_at;  // lifetime end
  bool operator==(const OnDemand&) const = default;
};

// What keeps an app from running at the moment. It is over as soon as it is untrue: step() sees to that.
enum class Condition : std::uint8_t {
  none,
  not_enabled,
  closed,          // outside its windows
  no_start_ahead,  // inside them, but its schedule has no start left
  start_failed,    // until a start succeeds
  waiting_for,     // other apps
  back_off,
};

struct Message {
  std::string text;
  std::optional<WallTime> time;
  bool operator==(const Message&) const = default;
};

// Of `depends_on`, what does not hold at the moment.
struct UnmetDependency {
  DependencyCondition condition = DependencyCondition::started;
  bool unknown = false;  // there is no such app
  bool operator==(const UnmetDependency&) const = default;
};
using UnmetDependencies = std::map<std::string, UnmetDependency>;

struct LifecycleState {
  std::shared_ptr<const AppDefinition> definition;
  std::optional<OnDemand> on_demand;
  AppStatus status = AppStatus::enabled;
  Phase phase = Phase::idle;

  RunNumber current_run = 0;                 // of starting..draining; else 0
  RunNumber last_run = 0;                    // highest number given out
  RunNumber outgoing_run = 0;                // the handed-over run of a recurring app, beside the current one
  std::optional<SteadyTime> outgoing_until;  // it may finish until then; none: it was asked to stop, or has exited
  bool outgoing_exited = false;              // its RunGone is still to come
  bool start_is_due = false;                 // an occurrence that waits for the end of outgoing_run
  StopReason stop_reason = StopReason::none;
  bool restart_after_stop = false;
  bool remove_after_stop = false;

  std::optional<PlannedStart> next_start;
  bool dormant = false;                 // idle because no start lies ahead; a clock that is set may change that
  std::optional<SteadyTime> remove_at;  // behavior `remove` with retention
  std::uint32_t backoff_step = 0;       // 0: next restart is immediate; then 1, 2, 4 … seconds up to 300
  SteadyTime run_started_steady{};
  WallTime run_started_wall{};

  std::uint64_t starts = 0;            // accepted starts until the app is deleted
  std::optional<int> return_code;      // of the run that exited last, current or outgoing
  std::optional<int> run_return_code;  // of the current run, once it exited: the exit policy looks at this one
  std::optional<WallTime> last_start;
  std::optional<WallTime> last_exit;
  Message history;  // how the last run ended, or what else happened; true for good, since it has its time
  Condition condition = Condition::none;
  Message condition_message;
  bool healthy = false;
  bool ready = false;                  // of the current run, docs/wire.md#own-fields
  std::optional<SteadyTime> ready_by;  // the current run is stopped when it is not ready by then
  std::string status_text;             // what the current run says of itself
  std::uint64_t missed_starts = 0;
  bool exit_known = true;  // of return_code

  UnmetDependencies waiting_for;  // as the engine told last; not saved
  std::optional<Alarm> alarm;     // what the engine's timer was last set to; not saved

  // What a client is told: what is wrong now, else what happened last.
  // Of a start that failed and what happened after it, the later one.
  [[nodiscard]] const Message& last_error() const {
    const bool past = condition == Condition::start_failed || condition == Condition::back_off;
    if (condition == Condition::none || (past && history.time > condition_message.time)) return history;
    return condition_message;
  }
};

namespace event {
struct Defined {  // a new app: plan its first start
  UnmetDependencies waiting_for;
};
struct Redefined {
  std::shared_ptr<const AppDefinition> definition;
  UnmetDependencies waiting_for;  // of the new definition
  bool rolls = false;             // a run that needs a restart gets it later, in its turn among the instances
};
struct Enabled {};
struct Disabled {};
struct Removed {};  // asked for by a user
struct RestartRequested {};
struct TimerDue {};  // the timer fired, or the wall clock was set: then every app wants to know, armed or not
struct RunStarted {
  RunNumber run = 0;
  std::int32_t pid = 0;
};
struct StartFailed {
  RunNumber run = 0;
  std::string reason;  // names the step and the errno text
};
struct RunExited {
  RunNumber run = 0;
  int return_code = 0;         // exit status, or minus the signal number
  bool known = true;           // false: not our child and vanished, "exit status unknown"
  std::string note;            // more to say of it, or empty
  std::optional<WallTime> at;  // when it exited, if that was earlier than now (the daemon was away)
};
struct RunGone {
  RunNumber run = 0;
};
struct HealthChanged {
  bool healthy = false;
};
struct RunReady {  // the run said so, or wrote the line
  RunNumber run = 0;
  bool ready = true;  // false: it is about to end
};
struct RunStatus {
  RunNumber run = 0;
  std::string text;  // valid UTF-8
};
struct Remarked {  // the engine has something to say of the app
  std::string text;
};
struct DependenciesChanged {
  UnmetDependencies waiting_for;
};
struct WatchdogExpired {
  RunNumber run = 0;
};
// The keeper was replaced. A start in flight counts as failed and is retried at once: tell it only after the new
// keeper's list was read and does not have that run (a run that it has: recover() with `running` or `exited`).
struct KeeperLost {};
// The policy was changed while the daemon runs: what was planned by the old one is planned again.
struct PolicyChanged {
  bool zone = false;  // the zone of cron expressions is another one
};
}  // namespace event

using Event =
    std::variant<event::Defined, event::Redefined, event::Enabled, event::Disabled, event::Removed,
                 event::RestartRequested, event::TimerDue, event::RunStarted, event::StartFailed, event::RunExited,
                 event::RunGone, event::HealthChanged, event::RunReady, event::RunStatus, event::WatchdogExpired,
                 event::DependenciesChanged, event::Remarked, event::KeeperLost, event::PolicyChanged>;

enum class Notice : std::uint8_t { start, exit, health, status, removed };  // STDOUT comes from the output follower

namespace effect {
struct StartRun {
  RunNumber run = 0;
};
struct StopRun {  // TERM to every process of the run, KILL to what is left after the grace
  RunNumber run = 0;
  std::chrono::seconds grace{3};
  StopReason reason = StopReason::none;
  bool abort = false;  // ABRT instead of TERM
};
struct DrainRun {  // the main process is gone: stop what is left of the run the same way (or let it live), then RunGone
  RunNumber run = 0;
  std::chrono::seconds grace{3};
  Leftovers leftovers = Leftovers::stop;
};
struct ArmTimer {  // replaces the app's one timer; exactly one of the two is set
  std::optional<WallTime> wall;
  std::optional<SteadyTime> steady;
};
struct CancelTimer {};
struct Publish {
  Notice notice = Notice::start;
  RunNumber run = 0;  // of an exit: current or outgoing
};
struct PersistState {};       // the lifecycle state, asynchronously
struct PersistDefinition {};  // status changed: the YAML file must say so; whoever asked has written it before
struct Delete {};             // forget the app; its name is free at once, a run still alive drains on its own
}  // namespace effect

using Effect = std::variant<effect::StartRun, effect::StopRun, effect::DrainRun, effect::ArmTimer, effect::CancelTimer,
                            effect::Publish, effect::PersistState, effect::PersistDefinition, effect::Delete>;

struct Policy {
  std::chrono::seconds stop_grace{3};  // BaseConfig.StopGraceSeconds
  std::chrono::seconds backoff_limit{300};
  std::chrono::seconds stable_after{60};  // a run at least this long resets the back-off
  Zone zone;                              // of cron expressions
  // recover() with `lost`: false decides by the exit policy, as after exit 0; true starts the app anew, since a run
  // that ended with the host did not end by itself.
  bool restart_lost_runs = false;
  // Whether the engine can carry two runs of one app. Without it an occurrence stops the old run, whatever `retention`.
  bool handover = false;
};

// Decides. Events about a run that is neither current nor outgoing are ignored (returns no effects), so a late report
// is harmless.
[[nodiscard]] std::vector<Effect> step(LifecycleState& state, const Event& event, Now now, const Policy& policy);

// The first of the promises that this state breaks; none: it keeps them all. True after every step() and recover(),
// which look themselves in a build with assertions.
[[nodiscard]] std::optional<std::string_view> check(const LifecycleState& state, Now now);

// What survives a restart of the daemon (everything but the definition). The steady instants are turned into wall time
// and back with `now`, so a planned back-off goes on where it was.
[[nodiscard]] boost::json::object save_state(const LifecycleState& state, Now now);
[[nodiscard]] Result<void> load_state(LifecycleState& state, const boost::json::object& saved, Now now);

// After load_state(): what the keeper (or nobody) still knows of the app's newest run. `running`: it lives;
// `exited`: its exit report follows as RunExited; `lost`: nobody knows it (host restarted): counts as exited, unknown.
enum class RecoveredRun : std::uint8_t { none, running, exited, lost };
[[nodiscard]] std::vector<Effect> recover(LifecycleState& state, RunNumber newest_run, RecoveredRun what, Now now,
                                          const Policy& policy);

// The same when the keeper knows more runs of the app than the newest: each is `running` or `exited`. The one that the
// app still owns is `state.outgoing_run` afterwards (or `state.current_run`, when a handed-over run is all that is
// left); any other is an orphan, and the engine's to end.
struct OtherRun {
  RunNumber run = 0;
  RecoveredRun what = RecoveredRun::none;
};
[[nodiscard]] std::vector<Effect> recover(LifecycleState& state, RunNumber newest_run, RecoveredRun what,
                                          std::span<const OtherRun> others, Now now, const Policy& policy);

// All that a daemon that comes back has found out. A definition that was edited meanwhile has the same outcome as one
// that is redefined while the daemon runs.
struct Recovery {
  RunNumber newest_run = 0;
  RecoveredRun what = RecoveredRun::none;
  std::span<const OtherRun> others;
  const AppDefinition* before = nullptr;  // what the saved state was decided by; none: not known
  std::optional<bool> outdated;           // the newest run has another fingerprint than the definition; none: not known
  bool rolls = false;                     // an outdated run gets its restart later, in its turn among the instances
};
[[nodiscard]] std::vector<Effect> recover(LifecycleState& state, const Recovery& found, Now now, const Policy& policy);

}  // namespace appmesh::core

// Runs the health_check_cmd of apps whose process lives (docs/wire.md#health) and reports what changed. A
// check is a run of its own in the keeper's table, marked in its tag, that counts nowhere. Owned by the engine and used
// only on its thread; an app without a command, or without a process, costs neither a timer nor an entry.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/app_definition.h"
#include "core/lifecycle.h"
#include "engine/run_supervisor.h"
#include "engine/timers.h"
#include "runtime/launch.h"

namespace appmesh::engine {

class HealthChecks {
 public:
  // Called with the result of each check; the engine may call follow() and forget() from inside it.
  using Report = std::function<void(const std::string& app, std::uint64_t generation, bool healthy)>;

  HealthChecks(Timers& timers, RunSupervisor& supervisor, const runtime::LaunchOptions& launch,
               std::chrono::seconds interval, Report report);

  // What the app is now; called after everything that may have changed it. `living_run` is 0 when no process runs.
  void follow(const std::string& app, std::uint64_t generation, core::RunNumber living_run,
              const std::shared_ptr<const core::AppDefinition>& definition);
  void forget(const std::string& app);
  // A check that is waited for comes by the new interval, counted from the last one.
  void set_interval(std::chrono::seconds interval);

  // What the supervisor tells of runs of kind `health`, those of an earlier daemon included: they are ended.
  void started(LiveRun& run);
  void start_failed(const LiveRun& run);
  void exited(LiveRun& run);

 private:
  struct Check {
    std::uint64_t generation = 0;
    core::RunNumber run_number = 0;
    std::shared_ptr<const core::AppDefinition> definition;
    std::optional<runtime::RunId> running;  // the check that is under way
    core::SteadyTime begun{};
    TimerId timer = 0;  // of the next check, or of the end of this one's time
    bool timed_out = false;
    bool could_not_start = false;
  };

  void begin(const std::string& app);
  void end_late(const std::string& app);
  void wait(const std::string& app, Check& check, std::chrono::microseconds pause);
  void plan_next(const std::string& app, Check& check);
  void abandon(Check& check);
  [[nodiscard]] Check* check_of(const LiveRun& run);

  Timers& timers_;
  RunSupervisor& supervisor_;
  const runtime::LaunchOptions& launch_;
  std::chrono::seconds interval_;
  Report report_;
  std::unordered_map<std::string, Check> checks_;  // by app
};

}  // namespace appmesh::engine

#include "engine/health_checks.h"

#include <algorithm>
#include <utility>

#include "platform/clock.h"

namespace appmesh::engine {

namespace {

using namespace std::chrono_literals;

constexpr auto kFirstCheck = 1s;  // after the start; also the shortest pause between two checks
constexpr auto kTimeLimit = 10s;

// The command in the app's directory, environment and user, without what is the app's alone.
core::AppDefinition check_definition(const core::AppDefinition& app) {
  core::AppDefinition check = app;
  check.command = app.health_check_cmd;
  check.shell = true;
  check.docker_image.clear();
  check.metadata = {};
  check.resource_limit.reset();
  return check;
}

}  // namespace

HealthChecks::HealthChecks(Timers& timers, RunSupervisor& supervisor, const runtime::LaunchOptions& launch,
                           std::chrono::seconds interval, Report report)
    : timers_(timers), supervisor_(supervisor), launch_(launch), interval_(interval), report_(std::move(report)) {}

void HealthChecks::follow(const std::string& app, std::uint64_t generation, core::RunNumber living_run,
                          const std::shared_ptr<const core::AppDefinition>& definition) {
  const auto known = checks_.find(app);
  const bool wanted = living_run != 0 && !definition->health_check_cmd.empty();
  if (known == checks_.end()) {
    if (!wanted) return;
    Check& check = checks_[app];
    check.generation = generation;
    check.run_number = living_run;
    check.definition = definition;
    return wait(app, check, std::min<std::chrono::microseconds>(kFirstCheck, interval_));
  }
  Check& check = known->second;
  const bool same = check.generation == generation && check.run_number == living_run;
  if (wanted && same && check.definition->health_check_cmd == definition->health_check_cmd) {
    check.definition = definition;
    return;
  }
  const bool command_withdrawn = living_run != 0 && same && !wanted;
  forget(app);
  if (wanted) return follow(app, generation, living_run, definition);
  if (command_withdrawn) report_(app, generation, true);  // healthy because it runs
}

void HealthChecks::forget(const std::string& app) {
  const auto known = checks_.find(app);
  if (known == checks_.end()) return;
  Check check = std::move(known->second);
  checks_.erase(known);
  abandon(check);
}

void HealthChecks::set_interval(std::chrono::seconds interval) {
  if (std::exchange(interval_, interval) == interval) return;
  for (auto& [app, check] : checks_)
    if (!check.running && check.begun != core::SteadyTime{}) plan_next(app, check);
}

void HealthChecks::abandon(Check& check) {
  timers_.cancel(std::exchange(check.timer, 0));
  const auto id = std::exchange(check.running, std::nullopt);
  if (LiveRun* run = id ? supervisor_.find(*id) : nullptr) supervisor_.stop(*run, 0s, "app ended");
}

void HealthChecks::wait(const std::string& app, Check& check, std::chrono::microseconds pause) {
  check.timer = timers_.after(pause, [this, app] { begin(app); });
}

void HealthChecks::plan_next(const std::string& app, Check& check) {
  timers_.cancel(std::exchange(check.timer, 0));
  check.running.reset();
  const auto left = check.begun + interval_ - platform::steady_now();
  wait(app, check,
       std::max<std::chrono::microseconds>(std::chrono::ceil<std::chrono::microseconds>(left), kFirstCheck));
}

void HealthChecks::begin(const std::string& app) {
  const auto known = checks_.find(app);
  if (known == checks_.end()) return;
  Check& check = known->second;
  check.begun = platform::steady_now();
  check.timed_out = false;
  check.running = supervisor_
                      .start(check_definition(*check.definition), check.generation, check.run_number, launch_,
                             runtime::RunKind::health)
                      .id;
  check.timer = timers_.after(kTimeLimit, [this, app] { end_late(app); });
}

void HealthChecks::end_late(const std::string& app) {
  const auto known = checks_.find(app);
  if (known == checks_.end() || !known->second.running) return;
  known->second.timer = 0;
  known->second.timed_out = true;
  if (LiveRun* run = supervisor_.find(*known->second.running)) supervisor_.stop(*run, 0s, "timeout");
}

HealthChecks::Check* HealthChecks::check_of(const LiveRun& run) {
  const auto known = checks_.find(run.tag.app);
  return known != checks_.end() && known->second.running == run.id ? &known->second : nullptr;
}

void HealthChecks::started(LiveRun& run) {
  if (check_of(run) == nullptr) supervisor_.stop(run, 0s, "app ended");
}

void HealthChecks::start_failed(const LiveRun& run) {
  Check* check = check_of(run);
  if (check == nullptr) return;
  // Once may be the keeper that was just replaced; again is the app's own matter, say its directory is gone.
  const bool again = std::exchange(check->could_not_start, true);
  const std::uint64_t generation = check->generation;
  plan_next(run.tag.app, *check);
  if (again) report_(run.tag.app, generation, false);
}

void HealthChecks::exited(LiveRun& run) {
  supervisor_.drain(run, 0s, core::Leftovers::stop);
  supervisor_.forget(run.id);
  Check* check = check_of(run);
  if (check == nullptr) return;
  check->could_not_start = false;
  const bool passed = run.exit->return_code == 0 && !check->timed_out;
  const bool known = run.exit->known || check->timed_out;  // else the keeper died, which says nothing of the app
  const std::uint64_t generation = check->generation;
  plan_next(run.tag.app, *check);
  if (known) report_(run.tag.app, generation, passed);
}

}  // namespace appmesh::engine

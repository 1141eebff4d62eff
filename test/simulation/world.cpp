#include "world.h"

#include <algorithm>
#include <array>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace appmesh::simulation {

using namespace core;  // NOLINT: the whole file is about its words
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr std::int64_t kEpoch = 1'700'000'000;
constexpr std::array kPhases = {"idle", "waiting", "starting", "running", "stopping", "draining", "removed", "blocked"};

std::string name_of(const Event& event) {
  constexpr std::array kNames = {"Defined",     "Redefined",        "Enabled",         "Disabled",
                                 "Removed",     "RestartRequested", "TimerDue",        "RunStarted",
                                 "StartFailed", "RunExited",        "RunGone",         "HealthChanged",
                                 "RunReady",    "RunStatus",        "WatchdogExpired", "DependenciesChanged",
                                 "Remarked",    "KeeperLost",       "PolicyChanged"};
  return kNames[event.index()];
}

std::string name_of(const Effect& effect) {
  constexpr std::array kNames = {"StartRun", "StopRun",      "DrainRun",          "ArmTimer", "CancelTimer",
                                 "Publish",  "PersistState", "PersistDefinition", "Delete"};
  return kNames[effect.index()];
}

bool is_live(Phase phase) {
  return phase >= Phase::starting && phase <= Phase::draining;
}

}  // namespace

World::World(std::uint64_t seed) : random_(seed), wall_(seconds(kEpoch)), steady_(seconds(1000)) {
  strict_disk_ = !one_in(4);
  policy_.restart_lost_runs = one_in(2);
  policy_.handover = !one_in(4);
  quiet_user_ = one_in(3);
  accidents_ = std::array<std::uint64_t, 3>{0, 1, 5}[chance(3)];
  define();
}

// ---- What may happen ----

void World::act() {
  if (daemon_died_) return crash_daemon(false);
  if (state_.phase == Phase::removed || !state_.definition) return define();
  const auto dice = chance(95 + accidents_);
  if (dice < 30) return deliver();
  if (dice < 60) return keeper_acts();
  if (dice < 78) return pass_time();
  if (dice < 85) return write_disk();
  if (dice < 90) return user_acts();
  if (dice < 95) return disturb();
  one_in(3) ? lose_keeper() : crash_daemon(one_in(6));
}

void World::define() {
  auto d = std::make_shared<AppDefinition>();
  d->name = "app";
  d->command = "true";
  d->register_time = epoch_seconds(wall_);
  d->behavior.exit = std::array{ExitAction::standby, ExitAction::restart, ExitAction::keepalive,
                                ExitAction::remove}[std::min<std::uint64_t>(chance(7), 3)];
  if (one_in(2)) d->behavior.exit = ExitAction::restart;
  if (one_in(4)) d->behavior.control[1] = ExitAction::restart;
  if (one_in(8)) d->behavior.leftovers = Leftovers::leave;
  if (one_in(4)) d->retention = DurationText{"5", seconds(5)};
  if (one_in(3)) d->start_interval = DurationText{"60", seconds(60)};
  if (d->start_interval && one_in(3)) d->retention = DurationText{"100", seconds(100)};
  if (one_in(8)) d->daily_limitation = DailyLimitation{80000, 79000};
  if (one_in(6)) d->status = AppStatus::disabled;
  if (one_in(4)) d->health_check_cmd = "true";
  if (one_in(4)) d->readiness = Readiness{.by = ReadinessKind::notify, .timeout_seconds = chance(2) == 0 ? 0 : 20};
  if (one_in(8) && !d->health_check_cmd.empty()) d->readiness = Readiness{.by = ReadinessKind::health};
  if (one_in(6)) d->watchdog_seconds = 30;
  if (one_in(4)) d->depends_on = {{"db", DependencyCondition::ready}};
  state_ = {};
  if (one_in(6)) {
    d->status = AppStatus::not_available;
    state_.on_demand = OnDemand{.timeout = seconds(chance(2) * 30), .remove_at = steady_ + seconds(200)};
  }
  state_.definition = d;
  state_.status = d->status;
  file_ = d;
  saves_.clear();
  durable_ = 0;
  runs_.clear();
  lived_.clear();
  exits_published_.clear();
  orphans_.clear();
  inbox_.clear();
  timer_.reset();
  backoff_known_ = false;
  db_is_ready_ = one_in(2);
  feed(event::Defined{unmet(*d)});
}

void World::user_acts() {
  if (quiet_user_ && !one_in(50)) return;
  switch (chance(12)) {
    case 0:
      return feed(event::Removed{});
    case 1:
    case 2:
      return feed(event::RestartRequested{});
    case 3:
    case 4:
    case 5:
      return change_status(AppStatus::disabled);
    case 6:
    case 7:
    case 8:
    case 9:
      return change_status(AppStatus::enabled);
    default:
      return redefine();
  }
}

// A request that changes the file: all that was decided before is on disk by then, and what follows from it comes
// after. False: the daemon died in between.
bool World::write_file(std::shared_ptr<const AppDefinition> definition) {
  durable_ = saves_.size();
  file_ = std::move(definition);
  if (calm_ || accidents_ == 0 || !one_in(10)) return true;
  note("the daemon dies after a file was written");
  daemon_died_ = true;
  return false;
}

void World::change_status(AppStatus status) {
  if (!state_.on_demand && state_.status != status) {
    auto d = std::make_shared<AppDefinition>(*state_.definition);
    d->status = status;
    if (!write_file(std::move(d))) return;
  }
  feed(status == AppStatus::enabled ? Event(event::Enabled{}) : Event(event::Disabled{}));
}

void World::redefine() {
  if (state_.on_demand) return;
  auto d = std::make_shared<AppDefinition>(*state_.definition);
  switch (chance(8)) {
    case 0:
      d->description += "x";
      break;
    case 1:
      d->command += "x";
      break;
    case 2:
      d->behavior.exit = one_in(2) ? ExitAction::standby : ExitAction::restart;
      break;
    case 3:
      d->status = d->status == AppStatus::enabled ? AppStatus::disabled : AppStatus::enabled;
      break;
    case 4:
      d->start_time = one_in(2) ? 0 : epoch_seconds(wall_) + static_cast<std::int64_t>(chance(100));
      d->end_time = 0;
      break;
    case 5:
      d->end_time = one_in(2) ? 0 : epoch_seconds(wall_) + static_cast<std::int64_t>(chance(100));
      d->start_time = 0;
      break;
    case 6:
      d->retention.reset();
      if (one_in(2)) d->retention = DurationText{"40", seconds(40)};
      if (one_in(3)) d->start_interval.reset();
      break;
    default:
      break;
  }
  if (write_file(d)) feed(event::Redefined{d, unmet(*d)});
}

// A run, chosen by chance, goes on by one step.
void World::keeper_acts() {
  std::vector<RunNumber> moving;
  for (const auto& [number, run] : runs_)
    if (!run.gone) moving.push_back(number);
  if (moving.empty()) return;
  const RunNumber number = moving[chance(moving.size())];
  Run& run = runs_.at(number);
  if (run.asked) return answer_spawn(number, run, true);
  if (run.alive) {
    if (run.stop_asked) return end_main(number, run, one_in(2) ? -15 : -9);
    if (one_in(4)) inbox_.push_back(event::RunReady{.run = number, .ready = !one_in(4)});
    if (!calm_ && one_in(3)) end_main(number, run, std::array{0, 1, 41, -11}[chance(4)]);
    return;
  }
  if (run.drain_asked) {
    if (!run.may_leave) run.descendants = false;
    run.gone = true;
    inbox_.push_back(event::RunGone{number});
  }
}

void World::answer_spawn(RunNumber number, Run& run, bool told) {
  if (!calm_ && one_in(4)) {
    runs_.erase(number);
    if (told) inbox_.push_back(event::StartFailed{number, "exec: No such file or directory"});
    return;
  }
  run.asked = false;
  run.alive = true;
  lived_.insert(number);
  if (told) inbox_.push_back(event::RunStarted{number, 4711});
}

void World::end_main(RunNumber number, Run& run, int code) {
  run.alive = false;
  run.exited = true;
  run.code = code;
  run.descendants = one_in(3);
  inbox_.push_back(event::RunExited{.run = number, .return_code = code, .known = run.code_known});
}

void World::deliver() {
  if (inbox_.empty()) return;
  Event event = inbox_.front();
  inbox_.pop_front();
  if (std::holds_alternative<event::DependenciesChanged>(event))  // told as it is now
    event = event::DependenciesChanged{unmet(*state_.definition)};
  feed(event);
  if (const auto* exited = std::get_if<event::RunExited>(&event); exited != nullptr && !daemon_died_) {
    if (const auto run = runs_.find(exited->run); run != runs_.end()) run->second.recorded_at = saves_.size();
  }
}

void World::pass_time() {
  if (timer_ && one_in(2)) {
    const auto wait = timer_->steady ? *timer_->steady - steady_ : *timer_->wall - wall_;
    if (wait < seconds(400)) advance(std::max(wait, microseconds(0)));
  } else {
    advance(std::array<microseconds, 4>{milliseconds(1), milliseconds(700), seconds(3), seconds(61)}[chance(4)]);
  }
  if (timer_is_due()) fire_timer();
}

void World::step_wall_clock() {
  wall_ += seconds(static_cast<std::int64_t>(chance(7200)) - 3600);
  note("the wall clock is set");
  feed(event::TimerDue{});
}

UnmetDependencies World::unmet(const AppDefinition& definition) const {
  UnmetDependencies all;
  if (db_is_ready_) return all;
  for (const auto& [name, condition] : definition.depends_on) all[name] = {.condition = condition};
  return all;
}

void World::change_db(bool ready) {
  db_is_ready_ = ready;
  feed(event::DependenciesChanged{unmet(*state_.definition)});
}

// Reports that mean nothing, and a clock that is set.
void World::disturb() {
  const RunNumber stranger = state_.last_run + 1 + chance(3);
  switch (chance(10)) {
    case 8:
    case 9:
      return change_db(!db_is_ready_);
    case 7:
      if (state_.definition->watchdog_seconds == 0) return;
      return feed(event::WatchdogExpired{state_.current_run});
    case 0:
      return feed(event::TimerDue{});
    case 1:
      return feed(event::HealthChanged{one_in(2)});
    case 2:
      return step_wall_clock();
    default: {
      const Event late = std::array<Event, 4>{event::RunStarted{stranger, 1}, event::StartFailed{stranger, "x"},
                                              event::RunExited{.run = stranger}, event::RunGone{stranger}}[chance(4)];
      require(step(state_, late, now(), policy_).empty(), "a report about a run that is not current has no effect");
    }
  }
}

// Some of what was saved reaches the disk; exits whose record is there are acknowledged and forgotten by the keeper.
void World::write_disk() {
  if (durable_ < saves_.size()) durable_ += 1 + chance(saves_.size() - durable_);
  for (auto& [number, run] : runs_) {
    if (run.forgotten || !run.exited || !run.recorded_at || (strict_disk_ && *run.recorded_at > durable_)) continue;
    // The history has the end of an orphan; the app is told of its current and its outgoing run only.
    require(exits_published_.contains(number) || orphans_.contains(number),
            fmt::format("the exit of run {} was told before it is forgotten", number));
    run.forgotten = true;
  }
  std::erase_if(runs_, [](const auto& entry) { return entry.second.forgotten && entry.second.gone; });
}

void World::crash_daemon(bool with_host) {
  note(with_host ? "the host restarts" : "the daemon dies");
  ++counts_[with_host ? "host restarts" : "daemon crashes"];
  daemon_died_ = false;
  inbox_.clear();
  timer_.reset();
  backoff_known_ = false;
  earliest_start_.reset();
  // A request on its way may have arrived or not; nobody is told.
  for (auto it = runs_.begin(); it != runs_.end();) {
    const auto [number, run] = *it++;
    if (!run.asked) continue;
    one_in(2) ? void(runs_.erase(number)) : answer_spawn(number, runs_.at(number), false);
  }
  bool lost_one = false;
  if (with_host) {
    advance(seconds(30));
    for (const auto& [number, run] : runs_) lost_one = lost_one || !run.gone;
    runs_.clear();
  }
  for (auto& [number, run] : runs_) {
    run.drain_asked = false;
    if (one_in(2)) run.stop_asked = false;  // the signal was not sent yet
    if (!run.forgotten) run.gone = false;
    run.recorded_at.reset();
    if (run.alive && one_in(4)) {  // it ends while nobody looks
      run.alive = false;
      run.exited = true;
      run.code = 1;
    }
  }
  // The oldest state that may be on disk: what was flushed, or with a sloppy disk anything before.
  if (!strict_disk_ && durable_ > 0) durable_ -= chance(std::min<std::size_t>(durable_, 5));
  saves_.resize(durable_);
  const auto on_demand = state_.on_demand;
  state_ = {};
  state_.definition = file_;
  state_.status = file_->status;
  if (!saves_.empty()) {
    const auto loaded = load_state(state_, saves_.back().state, now());
    require(loaded.has_value(), "what was saved can be loaded");
  } else if (on_demand) {
    state_.on_demand = on_demand;
  }
  const bool db_was_ready = std::exchange(db_is_ready_, false);
  state_.waiting_for = unmet(*state_.definition);
  db_is_ready_ = db_was_ready;
  if (!state_.definition->depends_on.empty()) inbox_.push_back(event::DependenciesChanged{unmet(*state_.definition)});
  const auto before = saves_.empty() ? nullptr : saves_.back().definition;
  auto effects = recover(with_host, lost_one, before.get());
  for (auto& [number, run] : runs_) {
    if (!run.exited) continue;
    inbox_.push_back(event::RunExited{.run = number, .return_code = run.code, .known = run.code_known});
  }
  carry_out(std::move(effects));
}

// What the keeper lists, told as the engine tells it: the newest run and the others.
std::vector<Effect> World::recover(bool with_host, bool lost_one, const AppDefinition* before) {
  std::vector<OtherRun> others;
  for (const auto& [number, run] : runs_)
    if (!run.forgotten) others.push_back({number, run.alive ? RecoveredRun::running : RecoveredRun::exited});
  OtherRun newest{.what = with_host && lost_one ? RecoveredRun::lost : RecoveredRun::none};
  // The history names the newest run even when the keeper has forgotten it.
  if (!lived_.empty()) newest.run = *lived_.rbegin();
  if (!others.empty() && others.back().run >= newest.run) {
    newest = others.back();
    others.pop_back();
  }
  note(fmt::format("recover: saved {} run {} outgoing {}, newest {} {}, {} others",
                   kPhases[static_cast<std::size_t>(state_.phase)], state_.current_run, state_.outgoing_run, newest.run,
                   std::array{"none", "running", "exited", "lost"}[static_cast<std::size_t>(newest.what)],
                   others.size()));
  Recovery found{.newest_run = newest.run, .what = newest.what, .others = others, .before = before};
  if (const auto run = runs_.find(newest.run); run != runs_.end() && run->second.made_of != nullptr)
    found.outdated = needs_restart(*run->second.made_of, *file_);
  auto effects = core::recover(state_, found, now(), policy_);
  // What the app does not own is an orphan, and the engine's to end.
  for (auto& [number, run] : runs_) {
    if (number == state_.current_run || number == state_.outgoing_run) continue;
    require(!run.alive || !strict_disk_, fmt::format("run {} has no owner", number));
    ++counts_[run.alive ? "living orphans" : "dead orphans"];
    run.stop_asked = true;
    orphans_.insert(number);
  }
  return effects;
}

void World::lose_keeper() {
  note("the keeper is replaced");
  ++counts_["keepers lost"];
  for (auto& [number, run] : runs_)
    if (run.alive) run.code_known = false;
  if (state_.phase != Phase::starting || !runs_.contains(state_.current_run)) return;
  const RunNumber number = state_.current_run;
  Run& run = runs_.at(number);
  if (!run.asked) return;  // its answer is on the way
  backoff_known_ = false;
  if (one_in(2)) {
    runs_.erase(number);
    return feed(event::KeeperLost{});
  }
  run.asked = false;
  run.alive = true;
  run.code_known = false;
  lived_.insert(number);
  std::vector<OtherRun> others;
  for (const auto& [older, its] : runs_)
    if (older != number && !its.forgotten)
      others.push_back({older, its.alive ? RecoveredRun::running : RecoveredRun::exited});
  carry_out(core::recover(state_, number, RecoveredRun::running, others, now(), policy_));
}

// ---- The daemon ----

void World::feed(const Event& event) {
  const LifecycleState before = state_;
  note(fmt::format("{} in {} at {:.3f}", name_of(event), kPhases[static_cast<std::size_t>(state_.phase)],
                   static_cast<double>(steady_.time_since_epoch().count()) / 1e6));
  ++counts_[name_of(event)];
  if (std::holds_alternative<event::TimerDue>(event) && timer_is_due()) timer_.reset();
  auto effects = step(state_, event, now(), policy_);
  note_backoff(before, event);
  carry_out(std::move(effects));
}

void World::carry_out(std::vector<Effect> effects) {
  for (const Effect& effect : effects) {
    if (!calm_ && accidents_ != 0 && one_in(150)) {
      note("the daemon dies between two effects");
      daemon_died_ = true;
      return;
    }
    note("  " + name_of(effect));
    carry_out(effect);
  }
  check_state();
}

void World::carry_out(const Effect& effect) {
  if (const auto* start = std::get_if<effect::StartRun>(&effect)) return start_run(start->run);
  if (const auto* stop = std::get_if<effect::StopRun>(&effect)) {
    require(stop->run != 0, "a stop names its run");
    if (const auto run = runs_.find(stop->run); run != runs_.end()) run->second.stop_asked = true;
  } else if (const auto* drain = std::get_if<effect::DrainRun>(&effect)) {
    Run& run = runs_.try_emplace(drain->run, Run{.asked = false, .exited = true, .forgotten = true}).first->second;
    require(!run.alive, "only what is left of a dead run is drained");
    run.drain_asked = true;
    run.gone = false;
    run.may_leave = drain->leftovers == Leftovers::leave;
  } else if (const auto* arm = std::get_if<effect::ArmTimer>(&effect)) {
    require(arm->wall.has_value() != arm->steady.has_value(), "a timer is either wall or steady");
    timer_ = *arm;
  } else if (std::holds_alternative<effect::CancelTimer>(effect)) {
    timer_.reset();
  } else if (const auto* publish = std::get_if<effect::Publish>(&effect)) {
    if (publish->notice == Notice::exit) exit_published(publish->run);
  } else if (std::holds_alternative<effect::PersistState>(effect)) {
    saves_.push_back({save_state(state_, now()), state_.definition});
  } else if (std::holds_alternative<effect::PersistDefinition>(effect)) {
    file_ = state_.definition;
  } else {
    forget_app();
  }
}

void World::start_run(RunNumber number) {
  for (const auto& [other, run] : runs_) {
    if (other == state_.outgoing_run || orphans_.contains(other)) continue;  // one outgoing: the state names no more
    require(!run.alive && !run.asked, fmt::format("run {} starts while run {} lives", number, other));
    // With a sloppy disk the keeper may have forgotten a run whose end the state has not heard of.
    if (strict_disk_)
      require(!run.descendants || run.may_leave,
              fmt::format("run {} starts beside what is left of run {}", number, other));
  }
  require(state_.outgoing_run == 0 || policy_.handover, "without handover nothing starts beside another run");
  if (state_.outgoing_run != 0) ++counts_["starts beside an outgoing run"];
  require(!lived_.contains(number), fmt::format("run number {} is used once", number));
  require(state_.on_demand || file_->status == AppStatus::enabled, "nothing starts while disabled");
  require(state_.on_demand || state_.definition->depends_on.empty() || db_is_ready_,
          "nothing starts before what it depends on is there");
  require(!earliest_start_ || steady_ >= *earliest_start_, "nothing starts before its back-off is over");
  if (!state_.on_demand) {
    require(file_->end_time == 0 || epoch_seconds(wall_) < file_->end_time, "nothing starts after the end time");
    require(epoch_seconds(wall_) >= file_->start_time, "nothing starts before the start time");
  }
  earliest_start_.reset();
  ++counts_["runs asked for"];
  runs_[number] = Run{.made_of = state_.definition};
}

void World::exit_published(RunNumber number) {
  exits_published_.insert(number);
  const auto run = runs_.find(number);
  if (run == runs_.end() || !run->second.exited || run->second.forgotten) return;
  require(!run->second.alive, "only a dead run has exited");
  const int expected = run->second.code_known ? run->second.code : 0;
  require(state_.return_code == expected, fmt::format("run {} has its exit code {}", number, expected));
}

void World::forget_app() {
  ++counts_["apps forgotten"];
  require(state_.phase == Phase::removed, "only a removed app is forgotten");
  for (const auto& [number, run] : runs_) {
    require(!(run.alive || run.asked) || run.stop_asked, fmt::format("run {} of a removed app is stopped", number));
    // What is left of a run whose exit is not told yet is stopped when it is, app or none.
    const bool report_follows = std::ranges::any_of(inbox_, [&](const Event& e) {
      const auto* exited = std::get_if<event::RunExited>(&e);
      return exited != nullptr && exited->run == number;
    });
    require(!run.descendants || run.may_leave || run.drain_asked || run.stop_asked || report_follows || !strict_disk_,
            fmt::format("what is left of run {} of a removed app is stopped", number));
  }
  if (timer_) throw Violation("a forgotten app has no timer");
}

bool World::timer_is_due() const {
  return timer_ && (timer_->steady ? steady_ >= *timer_->steady : wall_ >= *timer_->wall);
}

void World::fire_timer() {
  if (timer_) feed(event::TimerDue{});
}

void World::check_state() {
  const Phase phase = state_.phase;
  if (phase == Phase::removed) return;
  const auto broken = core::check(state_, now());
  require(!broken, std::string(broken.value_or("")));
  if (phase == Phase::running && state_.ready_by)
    require(timer_ && *state_.ready_by >= steady_, "what is not ready in time is stopped");
  if (state_.outgoing_run != 0) {
    if (state_.outgoing_until)
      require(timer_ && *state_.outgoing_until >= steady_, "the outgoing run is stopped when its time is used up");
    const auto outgoing = runs_.find(state_.outgoing_run);
    const bool report_follows = std::ranges::any_of(inbox_, [&](const Event& e) {
      const auto* gone = std::get_if<event::RunGone>(&e);
      return gone != nullptr && gone->run == state_.outgoing_run;
    });
    require(outgoing != runs_.end() || report_follows, "the outgoing run is known to the keeper");
    require(outgoing == runs_.end() || !outgoing->second.alive || outgoing->second.stop_asked || state_.outgoing_until,
            "an outgoing run that may not stay was asked to stop");
  }
  require(!state_.next_start || !state_.next_start->steady || *state_.next_start->steady - steady_ <= seconds(300),
          "a back-off is at most 300 s");
  if (phase == Phase::running || phase == Phase::starting) {
    const auto run = runs_.find(state_.current_run);
    require(
        run != runs_.end() ||
            std::ranges::any_of(inbox_, [](const Event& e) { return std::holds_alternative<event::StartFailed>(e); }),
        "a run that is believed to live is known to the keeper");
  }
  if (phase == Phase::blocked) ++counts_["states blocked"];
  if (strict_disk_ && saves_.size() == durable_ + 0 && !saves_.empty() && is_live(phase)) {
    LifecycleState again;
    again.definition = state_.definition;
    require(load_state(again, save_state(state_, now()), now()).has_value(), "every state can be saved and loaded");
    require(save_state(again, now()) == save_state(state_, now()), "a state survives being saved");
  }
}

// Reckons on its own what the back-off must be after an exit or a failed start that nobody asked for.
void World::note_backoff(const LifecycleState& before, const Event& event) {
  if (const auto* started = std::get_if<event::RunStarted>(&event); started != nullptr) {
    if (state_.phase == Phase::running && before.phase == Phase::starting) started_at_ = steady_;
    return;
  }
  if (const auto* exited = std::get_if<event::RunExited>(&event); exited != nullptr) {
    if (before.phase == Phase::starting) started_at_ = steady_;
    if (is_live(before.phase) && exited->run == before.current_run && steady_ - started_at_ >= policy_.stable_after)
      backoff_step_ = 0;
    return;
  }
  const auto* gone = std::get_if<event::RunGone>(&event);
  const auto* failed = std::get_if<event::StartFailed>(&event);
  if (gone == nullptr && failed == nullptr) {
    if (std::holds_alternative<event::TimerDue>(event) || std::holds_alternative<event::HealthChanged>(event) ||
        std::holds_alternative<event::RunReady>(event))
      return;
    backoff_known_ = false;  // a user asked for something
    earliest_start_.reset();
    return;
  }
  const bool ours = before.current_run != 0 && (gone != nullptr ? gone->run : failed->run) == before.current_run &&
                    (gone != nullptr ? before.phase == Phase::draining : before.phase == Phase::starting);
  if (!ours) return;
  const bool natural = (before.stop_reason == StopReason::none || before.stop_reason == StopReason::not_ready ||
                        before.stop_reason == StopReason::watchdog) &&
                       !before.restart_after_stop && !state_.on_demand && !is_recurring(*state_.definition) &&
                       is_live(before.phase);
  const bool again = state_.phase == Phase::waiting || state_.phase == Phase::starting;
  if (!natural || !again) {
    backoff_known_ = false;
    earliest_start_.reset();
    return;
  }
  if (!backoff_known_) {  // where core is, is where we begin to count
    backoff_known_ = true;
    backoff_step_ = state_.backoff_step;
    return;
  }
  const std::int64_t delay =
      backoff_step_ == 0 ? 0 : std::min<std::int64_t>(300, std::int64_t{1} << (backoff_step_ - 1));
  if (delay < 300) ++backoff_step_;
  earliest_start_ = steady_ + seconds(delay);
  ++counts_[delay == 0 ? "restarts without delay" : "back-offs checked"];
  if (delay == 300) ++counts_["back-offs at the limit"];
}

// ---- The end of an episode ----

void World::settle() {
  calm_ = true;
  if (daemon_died_) crash_daemon(false);
  if (state_.definition && state_.phase != Phase::removed) change_db(true);
  for (int quiet = 0, turns = 0; quiet < 3; ++turns) {
    require(turns < 20'000, "everything that is under way ends");
    if (state_.phase == Phase::removed) return;
    const bool busy = !inbox_.empty() || std::ranges::any_of(runs_, [](const auto& entry) {
      const Run& run = entry.second;
      return !run.gone && (run.asked || (run.alive && run.stop_asked) || (!run.alive && run.drain_asked));
    });
    quiet = busy ? 0 : quiet + 1;
    deliver();
    keeper_acts();
    const bool going_out =
        state_.outgoing_until && (!state_.next_start || state_.next_start->steady ||
                                  *state_.outgoing_until - steady_ < state_.next_start->wall - wall_);
    if (!busy && timer_ && (state_.phase == Phase::waiting || going_out)) {
      const auto wait = timer_->steady ? *timer_->steady - steady_ : *timer_->wall - wall_;
      if (wait > seconds(400)) break;  // a window that opens later
      advance(std::max(wait, microseconds(0)));
      fire_timer();
      quiet = 0;
    }
  }
  const Phase phase = state_.phase;
  const AppDefinition& d = *state_.definition;
  require(phase == Phase::idle || phase == Phase::waiting || phase == Phase::running, "the app has come to rest");
  for (const auto& [number, run] : runs_) {
    const bool known = (phase == Phase::running && number == state_.current_run) || number == state_.outgoing_run;
    require(!run.alive || known, fmt::format("run {} lives and nobody knows", number));
  }
  if (state_.on_demand) return;
  require(state_.status == file_->status, "the status is that of the file");
  if (const auto run = runs_.find(state_.current_run); phase == Phase::running && run != runs_.end())
    require(!needs_restart(*run->second.made_of, *file_), "what runs was started with the definition on disk");
  if (state_.status == AppStatus::disabled) return require(phase == Phase::idle, "a disabled app rests");
  const bool open = next_opening(d, wall_) == wall_;
  if (!open || is_recurring(d)) return;
  require(state_.starts > 0, "an enabled app that is due has run");
  const bool always = (d.behavior.exit == ExitAction::restart || d.behavior.exit == ExitAction::keepalive);
  if (phase == Phase::idle && always) {
    // It may rest only because of the policy that it had when its last run ended, never because it was forgotten.
    feed(event::RestartRequested{});
    while (!inbox_.empty() || state_.phase == Phase::starting) keeper_acts(), deliver();
    require(state_.phase == Phase::running, "a restart wakes what rests");
  }
}

// ---- Helpers ----

void World::advance(microseconds by) {
  wall_ += by;
  steady_ += by;
}

void World::require(bool condition, const std::string& promise) const {
  if (!condition) throw Violation("broken promise: " + promise);
}

void World::note(std::string text) {
  log_.push_back(std::move(text));
  if (log_.size() > 100) log_.pop_front();
}

std::string World::log() const {
  std::string out;
  for (const auto& line : log_) out += line + "\n";
  return out + fmt::format("state: {}\n", boost::json::serialize(save_state(state_, now()))) +
         fmt::format("strict disk: {}, file status: {}\n", strict_disk_, static_cast<int>(file_->status));
}

}  // namespace appmesh::simulation

// The inside of step() and recover(): one Decider lives for one call and collects its effects. Not for other rooms.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/lifecycle.h"

namespace appmesh::core {

class Decider {
 public:
  Decider(LifecycleState& state, Now now, const Policy& policy);

  // The table: one row an event.
  void on(const event::Defined& defined);
  void on(const event::Redefined& redefined);
  void on(const event::Enabled&);
  void on(const event::Disabled&);
  void on(const event::Removed&);
  void on(const event::RestartRequested&);
  void on(const event::TimerDue&);
  void on(const event::RunStarted& started);
  void on(const event::StartFailed& failed);
  void on(const event::RunExited& exited);
  void on(const event::RunGone& gone);
  void on(const event::HealthChanged& changed);
  void on(const event::RunReady& ready);
  void on(const event::RunStatus& status);
  void on(const event::WatchdogExpired& expired);
  void on(const event::DependenciesChanged& changed);
  void on(const event::Remarked& remarked) { note(remarked.text); }
  void on(const event::KeeperLost&);
  void on(const event::PolicyChanged& changed);

  void recover(const Recovery& found);

  // The effects, with the timer that the new state needs.
  [[nodiscard]] std::vector<Effect> finish();

 private:
  [[nodiscard]] const AppDefinition& definition() const { return *s_.definition; }
  [[nodiscard]] bool is_live() const;
  [[nodiscard]] bool is_enabled() const { return s_.on_demand.has_value() || s_.status == AppStatus::enabled; }
  [[nodiscard]] bool heeds_next_start() const;
  [[nodiscard]] bool is_due(const PlannedStart& planned) const;
  [[nodiscard]] Seconds grace() const;
  [[nodiscard]] Seconds next_backoff();
  [[nodiscard]] std::optional<Alarm> wanted_alarm() const;

  // What follows when no run lives.
  void plan();        // by the schedule
  void plan_first();  // the same for an app that was just registered
  void plan_anew();   // the same after something a user did: nothing of the past counts
  void resume();      // as soon as the windows allow
  void wait_until(std::optional<WallTime> due);
  void start();  // now
  void wait_for_occurrence();
  void back_off();  // after the back-off
  void wait_for_backoff(Seconds delay);
  void rest();  // not at all
  void rest_disabled();
  void after_run();  // the run is gone: decides between all of these
  void apply_exit_policy();
  void remove();

  void stop(StopReason reason);
  void stop_run_now();
  void mark_started();
  void record_exit(const event::RunExited& exited);
  void note_exit(const event::RunExited& exited);
  void drain();

  // Handover (docs/wire.md#recurring): lifecycle_handover.cpp.
  [[nodiscard]] bool hands_over() const;
  void replace_run();
  void stop_outgoing(StopReason reason, Seconds grace);
  void outgoing_exited(const event::RunExited& exited);
  void outgoing_gone();
  void drain_outgoing();
  void forget_outgoing();
  bool wait_for_outgoing(StopReason reason);
  void review_outgoing();

  // Dependencies (docs/wire.md#own-fields): lifecycle_dependencies.cpp.
  void block();
  void review_dependencies();

  // Readiness and watchdog (docs/wire.md#own-fields): lifecycle_readiness.cpp.
  void mark_ready();
  void forget_readiness();
  void await_readiness();
  void review_readiness();
  [[nodiscard]] bool is_late_to_be_ready() const { return s_.ready_by && now_.steady >= *s_.ready_by; }
  [[nodiscard]] std::string stop_note() const;

  void review_plan();
  void next_start_due();
  void plan_next_occurrence();
  void set_status(AppStatus status);
  void set_healthy(bool healthy);

  // What clients are told (last_error): lifecycle_condition.cpp.
  void note(std::string text);
  void set_condition(Condition condition, std::string text);
  void clear_condition();
  void review_condition();
  void tell_back_off(Seconds delay);
  void tell_no_start();

  // recover()
  void recover_runs(RunNumber newest_run, RecoveredRun what, std::span<const OtherRun> others);
  void take_over_definition(const Recovery& found);
  void catch_up(RunNumber newest_run);
  void use_up_occurrences(RunNumber runs);
  void take_over_status();
  void drop_foreign_plan();
  void recover_outgoing(std::span<const OtherRun> others, bool lost);
  void recover_living(RunNumber newest_run);
  void recover_without_run(RunNumber newest_run, RecoveredRun what);

  void emit(Effect effect) { effects_.push_back(std::move(effect)); }
  void publish(Notice notice, RunNumber run = 0) { emit(effect::Publish{notice, run}); }
  void persist() { persist_ = true; }

  LifecycleState& s_;
  const Now now_;
  const Policy& policy_;
  bool persist_ = false;
  bool deleted_ = false;
  bool rearm_ = false;           // whether the engine's timer still runs is not known
  bool became_enabled_ = false;  // recover(): the file on disk says enabled, the saved state disabled
  std::vector<Effect> effects_;
};

}  // namespace appmesh::core

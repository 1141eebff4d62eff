// One app in a world without real time: a virtual clock, a keeper that starts and loses processes as chance has it, a
// user, a disk that is written late, and a daemon that may die between any two effects. The world carries out the
// effects of core::step() and throws Violation when one of them breaks a promise. Single-threaded; the seed decides
// everything.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/json/object.hpp>

#include "core/lifecycle.h"

namespace appmesh::simulation {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class World {
 public:
  explicit World(std::uint64_t seed);

  // One thing happens.
  void act();
  // Nothing unexpected happens any more; everything that is under way ends. Throws when the app is not where it
  // belongs.
  void settle();

  // What happened last, for the report of a failure.
  [[nodiscard]] std::string log() const;
  [[nodiscard]] const std::map<std::string, std::uint64_t>& counts() const { return counts_; }

 private:
  // What the keeper and the cgroups know of a run, whatever the daemon believes.
  struct Run {
    bool asked = true;   // the spawn is not answered yet
    bool alive = false;  // the main process
    bool descendants = false;
    bool may_leave = false;  // its descendants are allowed to stay
    bool exited = false;
    bool code_known = true;
    int code = 0;
    bool stop_asked = false;
    bool drain_asked = false;
    bool gone = false;
    std::shared_ptr<const core::AppDefinition> made_of;  // what its tag says
    bool forgotten = false;                              // its exit was acknowledged: only its cgroup is left, if that
    std::optional<std::size_t> recorded_at;              // the save that holds its exit
  };

  // What may happen.
  void define();
  void user_acts();
  void redefine();
  void change_status(core::AppStatus status);
  bool write_file(std::shared_ptr<const core::AppDefinition> definition);
  void keeper_acts();
  void answer_spawn(core::RunNumber number, Run& run, bool told);
  void end_main(core::RunNumber number, Run& run, int code);
  void deliver();
  void pass_time();
  void step_wall_clock();
  void disturb();
  void change_db(bool ready);
  [[nodiscard]] core::UnmetDependencies unmet(const core::AppDefinition& definition) const;
  void write_disk();
  void crash_daemon(bool with_host);
  void lose_keeper();
  [[nodiscard]] std::vector<core::Effect> recover(bool with_host, bool lost_one, const core::AppDefinition* before);

  // The daemon.
  void feed(const core::Event& event);
  void carry_out(std::vector<core::Effect> effects);
  void carry_out(const core::Effect& effect);
  void start_run(core::RunNumber number);
  void exit_published(core::RunNumber number);
  void forget_app();
  void fire_timer();
  [[nodiscard]] bool timer_is_due() const;
  void check_state();
  void note_backoff(const core::LifecycleState& before, const core::Event& event);

  [[nodiscard]] core::Now now() const { return {wall_, steady_}; }
  void advance(std::chrono::microseconds by);
  void require(bool condition, const std::string& promise) const;
  void note(std::string text);

  std::uint64_t chance(std::uint64_t of) { return std::uniform_int_distribution<std::uint64_t>(0, of - 1)(random_); }
  bool one_in(std::uint64_t n) { return chance(n) == 0; }

  std::mt19937_64 random_;
  core::Policy policy_;
  bool strict_disk_;             // exits are acknowledged only when their record is on disk; else at once
  std::uint64_t accidents_ = 0;  // how often daemon, keeper and host die, in 100
  bool quiet_user_ = false;      // lets the back-off grow
  bool calm_ = false;            // settling: no accidents
  core::WallTime wall_;
  core::SteadyTime steady_;

  // On disk.
  std::shared_ptr<const core::AppDefinition> file_;
  struct Save {
    boost::json::object state;
    std::shared_ptr<const core::AppDefinition> definition;  // what led to the state
  };
  std::vector<Save> saves_;
  std::size_t durable_ = 0;  // how many of the saves survive a crash

  // In the daemon.
  core::LifecycleState state_;
  std::optional<core::effect::ArmTimer> timer_;
  std::deque<core::Event> inbox_;
  bool daemon_died_ = false;
  bool db_is_ready_ = false;  // the one app that others may depend on

  // In the keeper.
  std::map<core::RunNumber, Run> runs_;
  std::set<core::RunNumber> lived_;
  std::set<core::RunNumber> orphans_;
  std::set<core::RunNumber> exits_published_;

  // An independent reckoning of the back-off, valid while nothing but exits and failed starts happens.
  bool backoff_known_ = false;
  std::uint32_t backoff_step_ = 0;
  std::optional<core::SteadyTime> earliest_start_;
  core::SteadyTime started_at_{};

  std::deque<std::string> log_;
  std::map<std::string, std::uint64_t> counts_;
};

}  // namespace appmesh::simulation

// One app inside the engine: the core's state and what the shell needs to carry its effects out. Only engine*.cpp sees
// it.
#pragma once

#include <vector>

#include "core/instance_name.h"
#include "engine/engine.h"

namespace appmesh::engine {

struct Engine::App {
  std::uint64_t generation = 0;
  core::LifecycleState state;
  std::uint32_t instance = 0;                   // see core/instance_name.h
  std::uint32_t instance_count = 1;             // of instance 0: how many there are, itself included
  std::optional<core::RunNumber> restart_past;  // a restart that was asked for is to bring it past this run; saved
  std::string roll_stopped;  // of instance 0: why the last rolling restart stopped, until the next one
  TimerId timer = 0;
  std::shared_ptr<TaskQueue> tasks;
  std::optional<AttachTarget> attach;  // what the next start takes instead of starting anything; saved

  // What the saved state was decided by, when that was another definition than the present one; until recovered.
  std::shared_ptr<const core::AppDefinition> before;
  bool copy_is_due = true;  // the row with the state does not hold the present definition yet
  std::shared_ptr<const InvalidDefinition> invalid;
  core::WallTime invalid_since{};
  // No good definition of it is known: what runs is watched, and nothing is started, stopped or forgotten.
  bool placeholder = false;
  std::string unrecovered_state;  // of a placeholder that nothing runs of: what its row says, until it is mended
  bool is_being_removed = false;  // its row goes at this moment, nothing may bring it back
  bool file_is_gone = false;      // removed by a user's request, not by the app's policy

  runtime::RunId run_id{};  // of the newest run
  core::RunNumber run_number = 0;
  std::int32_t pid = 0;
  bool run_complete = false;
  bool followed = false;                                // its run has a watchdog or a line to wait for
  std::optional<runtime::RunId> outgoing_id;            // a handed-over run that may still end beside the newest one
  std::optional<platform::TerminalSize> terminal_size;  // its run is to have a terminal
  std::shared_ptr<platform::UniqueFd> terminal;         // of the run that has just started
  bool awaited = false;                                 // the caller of its on-demand run waits for the end
  bool attended = true;                                 // somebody is at its terminal
  std::vector<core::RunNumber> kept_runs;               // older runs whose output is kept, newest first

  std::vector<std::pair<core::RunNumber, boost::json::object>> exits;  // what to tell when the run is gone

  std::string saved_outgoing_id;
  std::string saved_run_id;  // as the state store had it at start
  std::string saved_cgroup;  // of that run
  std::string saved_outgoing_cgroup;
  std::vector<Done<AppViewPtr>> settled_waiters;    // answered when a start that was asked for has its outcome
  std::vector<Done<RunTicket>> started_waiters;     // of an on-demand run
  std::vector<Done<FinishedRun>> finished_waiters;  // of an on-demand run

  [[nodiscard]] const std::string& name() const { return state.definition->name; }
  // As users know it, for events and messages.
  [[nodiscard]] std::string public_name() const { return std::string(core::split_instance(name()).app); }
  [[nodiscard]] RunTicket ticket() const { return {name(), run_id.text(), generation, terminal}; }
};

// A row of the state store, looked at before its app is known.
struct Engine::SavedRow {
  store::SavedApp saved;
  Result<boost::json::object> state;
  bool on_demand = false;
};

// Whether a run was started with another definition than this one; none: its tag does not say.
[[nodiscard]] std::optional<bool> is_outdated(const runtime::RunTag& tag, const core::AppDefinition& definition);

// The definition that one instance has: the shared one, under its own name.
[[nodiscard]] std::shared_ptr<const core::AppDefinition> definition_of(
    const std::shared_ptr<const core::AppDefinition>& shared, std::uint32_t instance);

}  // namespace appmesh::engine

// The keeper: one table of runs, one connection, one loop over events. There is one, in main.cpp; it lives as long as
// the program, on the only thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "keeper/cgroup_signal.h"
#include "keeper/connection.h"
#include "keeper/descriptor.h"
#include "keeper/limits.h"
#include "keeper/protocol.h"
#include "keeper/spawn.h"
#include "keeper/table.h"

namespace appmesh::keeper {

template <typename T>
Header header_of(MessageType type, std::uint64_t request_id) {
  return {.type = type, .reserved = 0, .size = sizeof(T), .request_id = request_id};
}

struct KeeperOptions {
  const char* home = nullptr;     // absolute
  int run_directory = -1;         // HOME/run
  const char* program = nullptr;  // absolute: what a re-exec starts
  ChildLimits child_limits{};
  std::int64_t spawn_timeout_us = kSpawnTimeoutSeconds * INT64_C(1'000'000);
  // Given by the program before a re-exec, else -1 and 0.
  int listener = -1;
  int connection = -1;
  int journal = -1;
  std::uint64_t reexec_request = 0;
};

// What an epoll event is about: one of these, kPidfdBase + the index of an adopted run, kStartBase + that of a start,
// or a number for each connection.
enum Source : std::uint64_t {
  kSignals,
  kListener,
  kPidfdBase,
  kStartBase = std::uint64_t{1} << 31,
  kFirstConnection = std::uint64_t{1} << 32,
};

class Keeper {
 public:
  // Blocks all signals, opens the journal, takes over what lives, listens. 0, or errno with what failed in `step`.
  int open(const KeeperOptions& options, const char*& step);
  // Returns when the keeper was told to end (SIGTERM) and no run lives: the exit code of the program.
  int run();

 private:
  // takeover.cpp: runs of the keeper before, and processes that are not our children.
  void take_over(Predecessor predecessor);
  void take_over(Slot& slot);
  bool watch(Slot& slot, Descriptor pidfd);
  bool unwatched(const Slot& slot) const;
  void adopted_exited(Slot& slot);
  int reexec(std::uint64_t request_id);

  void reap();
  void exited(Slot& slot, const Exit& exit, std::uint32_t flags);

  // starts.cpp: spawns, which the loop waits for beside everything else.
  void on_spawn();
  void refuse_start(const Spawn& request, int error, std::uint32_t count);
  void start_ended(SpawnBlock& block);
  void note_outcome(SpawnBlock& block, std::int32_t error);
  void give_up_late_starts();
  [[nodiscard]] int wait_ms() const;
  void send_due_answer();
  void send_outcome(const SpawnBlock& block);

  void accept_connection();
  void drop_connection();
  void read_requests();
  void pump();
  void update_interest();
  bool may_read() const { return !waiting_to_send() && !spawner_.is_crowded(); }
  bool waiting_to_send() const { return outbox_.full() || listing_; }
  // A list says of every spawn that was asked for before it what became of it.
  bool may_list() const { return listing_ && spawner_.pending() == 0; }

  void handle_message();
  void on_hello(const Hello& request);
  void on_signal(const Signal& request);
  void on_adopt(const Adopt& request);
  void on_forget(const Forget& request);
  void on_keep(const Keep& request);
  void on_ask_kept(const AskKept& request);
  void on_main_pid(const MainPid& request);
  void send_next_run();
  void send_exited(Slot& slot);
  void send_started(const Slot& slot, MessageType type, std::uint64_t request_id);
  void send_done(std::uint64_t request_id, std::uint32_t count);
  void send_error(const Header& request, int error, const char* message);
  void send(const void* message, std::size_t size);

  KeeperOptions options_;
  std::int64_t started_us_ = 0;
  Descriptor epoll_;
  Descriptor signals_;
  Descriptor listener_;
  Descriptor connection_;
  std::uint32_t interest_ = 0;           // epoll events of connection_
  std::uint64_t connection_source_ = 0;  // differs for each connection, so that no late event of an older one counts
  bool greeted_ = false;
  bool listing_ = false;
  std::uint64_t list_request_ = 0;
  std::uint32_t list_at_ = 0;
  std::uint32_t list_count_ = 0;
  bool ending_ = false;
  std::uint32_t answers_due_ = 0;  // of starts
  Table table_;
  Spawner spawner_;
  CgroupSignaller cgroups_;
  Inbox inbox_;
  Outbox outbox_;
};

}  // namespace appmesh::keeper

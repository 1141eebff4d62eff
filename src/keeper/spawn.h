// Starts that are under way: one SpawnBlock each, with all that its child may read or write before it execs. Owned by
// the Keeper; keeper thread only, but for what a child does with its own block. No heap: a block is mapped when it is
// first needed and then used again.
//
//   free --take--> taken --start--> pending --(word cleared)--> ended --give_back--> free
//                                   pending --give_up--> given up --(word cleared)--> ended
//
// A child shares the keeper's memory until it execs, and the kernel may hold it in that time for as long as it likes: a
// file system that does not answer, a lease. So block and journal slot of a start are used for nothing else until the
// kernel has cleared the child's word (CLONE_CHILD_CLEARTID), which it does when the child has exec'ed or is dead,
// killed or not.
#pragma once

#include <cstddef>
#include <cstdint>

#include "keeper/descriptor.h"
#include "keeper/limits.h"
#include "keeper/protocol.h"
#include "keeper/table.h"

namespace appmesh::keeper {

// A Spawn message whose every length has been checked. Points into its block.
struct SpawnPlan {
  const Spawn* request;
  const Rlimit* rlimits;
  const std::uint32_t* groups;
  const char* tag;
  const char* directory;
  const char* program;
  const char* search_path;  // value of PATH in the environment
  char** arguments;
  char* const* environment;
  int standard_input;  // -1: not given; likewise below
  int standard_output;
  int standard_error;
  int cgroup;
  const int* cgroup_tasks;
  char* own_pid;  // where the child writes its pid, or nullptr
};

// What all children get alike.
struct ChildDefaults {
  int null = -1;
  ChildLimits limits{};
  bool restore_oom_score = false;  // ours is lowered
};

// What became of a start: running when error is 0.
struct SpawnOutcome {
  RunId run_id;
  std::int32_t pid;
  std::uint64_t start_ticks;
  std::int64_t started_us;
  SpawnStep step;
  std::int32_t error;
  std::uint32_t detail;
};

struct SpawnBlock {
  enum class State : std::uint8_t { free, taken, pending, given_up, ended };

  alignas(4096) std::byte stack[64 * 1024];  // grows down to a page that nobody may touch
  std::uint32_t alive;  // the kernel clears it when the child has exec'ed or is dead (CLONE_CHILD_CLEARTID)
  State state;
  bool answer_due;    // the outcome is known and has not been told
  bool enter_cgroup;  // the kernel did not do it
  std::int32_t pid;
  std::uint32_t uid;         // whom the start is counted for
  std::uint64_t request_id;  // what is answered
  std::uint64_t connection;  // and on which connection
  std::int64_t deadline_us;  // CLOCK_MONOTONIC
  Slot* slot;
  Descriptor notice;  // hangs up when the word is cleared
  int notice_writer;  // the child's end
  const ChildDefaults* defaults;
  SpawnOutcome outcome;
  SpawnPlan plan;
  int descriptors[kMaxDescriptors];
  char* arguments[kMaxArguments + 2];  // from the second on; the first is for the shell that runs a script
  char* environment[kMaxEnvironment + 1];
  char path[kMaxPathBytes];         // the file that was tried last
  char interpreter[kMaxPathBytes];  // what it wants to be run by, if that is what is missing
  alignas(8) std::byte message[kMaxMessageBytes];

  // Checks a datagram that is a whole Spawn and makes the plan from a copy. nullptr when good, else the field and the
  // reason, with error set.
  const char* parse(const std::byte* bytes, std::size_t size, const int* given, std::size_t given_count, int& error);
  bool has_ended() const { return __atomic_load_n(&alive, __ATOMIC_ACQUIRE) == 0; }
};

// The child's side (spawn_child.cpp). Runs on the block's stack and must not return.
[[noreturn]] void run_child(void* block);

class Spawner {
 public:
  // Opens /dev/null and notes what children shall have. 0 or errno.
  int prepare(const ChildLimits& limits);

  // A block for a new start, or nullptr: EAGAIN all are in use, or an errno of mmap().
  SpawnBlock* take(int& error);
  // Makes block.notice, for the caller to watch. 0 or errno.
  int open_notice(SpawnBlock& block, Descriptor& writer);
  // Makes the child. The slot must be `starting`. 0, or errno with the step in the slot.
  int start(SpawnBlock& block, Slot& slot, const Descriptor& writer, std::int64_t now_us, std::int64_t patience_us);
  // Kills the child of a pending start.
  void give_up(SpawnBlock& block);
  // Its word must be cleared, or no child been made.
  void give_back(SpawnBlock& block);

  std::uint32_t made() const { return made_; }
  SpawnBlock& at(std::uint32_t index) { return *blocks_[index]; }
  std::uint32_t index_of(const SpawnBlock& block) const;
  std::uint32_t pending() const { return pending_; }
  // Whether the next start could find no room while some are young: requests are better left where they are.
  bool is_crowded() const;
  // Starts of a user that are pending or given up.
  std::uint32_t held_by(std::uint32_t uid) const;
  // The pending or given up start with this child; nullptr: none.
  SpawnBlock* find(pid_t pid);
  // When the first of the pending ones is late, CLOCK_MONOTONIC; INT64_MAX: none is pending.
  std::int64_t first_deadline_us() const;
  // The word is cleared; the block is given back by the caller when the outcome has been told.
  void ended(SpawnBlock& block);

 private:
  long clone_child(SpawnBlock& block, int into_cgroup);

  ChildDefaults defaults_;
  Descriptor null_;
  SpawnBlock* blocks_[kMaxStarts] = {};
  std::uint32_t made_ = 0;
  std::uint32_t pending_ = 0;
};

}  // namespace appmesh::keeper

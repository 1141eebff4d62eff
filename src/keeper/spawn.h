// From a Spawn message to a running program: checks the message, clones, and reports what the child could not do.
// Owned by the Keeper; keeper thread only. One spawn at a time, all memory is static.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/resource.h>

#include "keeper/descriptor.h"
#include "keeper/protocol.h"
#include "keeper/table.h"

namespace appmesh::keeper {

// A Spawn message whose every length has been checked. Points into the message.
struct SpawnPlan {
  const Spawn* request;
  const Rlimit* rlimits;
  const std::uint32_t* groups;
  const char* tag;
  const char* directory;
  const char* program;
  const char* search_path;  // value of PATH in the environment
  char* const* arguments;
  char* const* environment;
  int standard_input;  // -1: not given; likewise below
  int standard_output;
  int standard_error;
  int cgroup;
  const int* cgroup_tasks;
  char* own_pid;  // where the child writes its pid, or nullptr
};

class Spawner {
 public:
  // Opens /dev/null and notes the descriptor limit that children shall have. 0 or errno.
  int prepare(const rlimit& child_descriptor_limit);

  // Checks a datagram that is a whole Spawn. nullptr when good, else the field and the reason, with error set.
  const char* parse(const std::byte* message, std::size_t size, const int* descriptors, std::size_t descriptor_count,
                    int& error);
  const SpawnPlan& plan() const { return plan_; }

  // Starts what was parsed. The slot must be `starting`. On success slot.pid and slot.start_ticks are set and the child
  // has exec'ed; else slot.spawn_step, spawn_error and spawn_detail say why, and the child is gone.
  bool start(Slot& slot);

 private:
  struct Child;
  long clone_child(Child& child, int into_cgroup);
  [[noreturn]] static void run_child(void* child);
  static void prepare_child(Child& child);
  static void switch_user(Child& child);
  static void execute(Child& child);

  SpawnPlan plan_{};
  Descriptor null_;
  rlimit child_descriptor_limit_{};
  char* arguments_[kMaxArguments + 1] = {};
  char* environment_[kMaxEnvironment + 1] = {};
  char path_[4096 + 256] = {};
  alignas(16) std::byte stack_[64 * 1024] = {};
};

}  // namespace appmesh::keeper

#include "keeper/spawn.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/mman.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <sched.h>

#include "keeper/raw_syscall.h"

namespace appmesh::keeper {
namespace {

constexpr std::size_t kGuardBytes = 4096;

bool holds(const SpawnBlock& block) {
  return block.state == SpawnBlock::State::pending || block.state == SpawnBlock::State::given_up;
}

// Below 0 the kernel spares us when memory is short, which is not meant for what we start.
bool oom_score_is_lowered() {
  const Descriptor file{::open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC)};
  char sign = 0;
  return file && ::read(file.get(), &sign, 1) == 1 && sign == '-';
}

}  // namespace

int Spawner::prepare(const ChildLimits& limits) {
  null_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_) return errno;
  defaults_ = {.null = null_.get(), .limits = limits, .restore_oom_score = oom_score_is_lowered()};
  return 0;
}

SpawnBlock* Spawner::take(int& error) {
  SpawnBlock* block = nullptr;
  // The lowest free one: its memory is likely to be in the processor's cache.
  for (std::uint32_t i = 0; i < made_ && block == nullptr; ++i) {
    if (blocks_[i]->state == SpawnBlock::State::free) block = blocks_[i];
  }
  if (block == nullptr) {
    error = EAGAIN;
    if (made_ == kMaxStarts) return nullptr;
    void* const memory = ::mmap(nullptr, kGuardBytes + sizeof(SpawnBlock), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || ::mprotect(memory, kGuardBytes, PROT_NONE) != 0) {
      error = errno;
      if (memory != MAP_FAILED) ::munmap(memory, kGuardBytes + sizeof(SpawnBlock));
      return nullptr;
    }
    block = reinterpret_cast<SpawnBlock*>(static_cast<std::byte*>(memory) + kGuardBytes);
    block->notice.release();  // zeroed memory would be a descriptor
    blocks_[made_++] = block;
  }
  block->state = SpawnBlock::State::taken;
  block->slot = nullptr;
  block->answer_due = false;
  block->path[0] = 0;
  block->interpreter[0] = 0;
  return block;
}

int Spawner::open_notice(SpawnBlock& block, Descriptor& writer) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return errno;
  block.notice.reset(ends[0]);
  writer.reset(ends[1]);
  return 0;
}

int Spawner::start(SpawnBlock& block, Slot& slot, const Descriptor& writer, std::int64_t now_us,
                   std::int64_t patience_us) {
  block.slot = &slot;
  block.defaults = &defaults_;
  block.notice_writer = writer.get();
  block.enter_cgroup = false;
  __atomic_store_n(&block.alive, 1U, __ATOMIC_RELEASE);
  slot.spawn_step = SpawnStep::fork;
  long pid = clone_child(block, block.plan.cgroup);
  // Linux before 5.7 does not know about cgroups here (E2BIG), and some containers forbid clone3 (ENOSYS, EPERM).
  if (pid == -E2BIG || pid == -ENOSYS || pid == -EPERM || pid == -EINVAL) {
    block.enter_cgroup = block.plan.cgroup >= 0;
    pid = clone_child(block, -1);
  }
  if (pid < 0) {
    const bool cgroup_refused = block.plan.cgroup >= 0 && pid != -EAGAIN && pid != -ENOMEM;
    slot.spawn_step = cgroup_refused ? SpawnStep::cgroup : SpawnStep::fork;
    slot.spawn_error = static_cast<int>(-pid);
    return slot.spawn_error;
  }
  block.pid = static_cast<std::int32_t>(pid);
  block.deadline_us = now_us + patience_us;
  block.state = SpawnBlock::State::pending;
  ++pending_;
  return 0;
}

void Spawner::give_up(SpawnBlock& block) {
  // Our child, and not reaped before its word is cleared: the pid is its own.
  ::kill(block.pid, SIGKILL);
  block.state = SpawnBlock::State::given_up;
  --pending_;
}

void Spawner::ended(SpawnBlock& block) {
  if (block.state == SpawnBlock::State::pending) --pending_;
  block.state = SpawnBlock::State::ended;
  block.notice.reset();
}

void Spawner::give_back(SpawnBlock& block) {
  if (block.state == SpawnBlock::State::pending) --pending_;
  block.notice.reset();
  // What was secret in the environment has no business here any more.
  ::explicit_bzero(block.message, block.plan.request != nullptr ? block.plan.request->header.size : sizeof(Header));
  block.plan = {};
  block.state = SpawnBlock::State::free;
}

std::uint32_t Spawner::index_of(const SpawnBlock& block) const {
  std::uint32_t index = 0;
  while (blocks_[index] != &block) ++index;
  return index;
}

std::uint32_t Spawner::held_by(std::uint32_t uid) const {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < made_; ++i) count += holds(*blocks_[i]) && blocks_[i]->uid == uid ? 1 : 0;
  return count;
}

bool Spawner::is_crowded() const {
  if (pending_ == 0) return false;
  std::uint32_t free = kMaxStarts - made_;
  for (std::uint32_t i = 0; i < made_; ++i) {
    const SpawnBlock& block = *blocks_[i];
    free += block.state == SpawnBlock::State::free ? 1 : 0;
    if (pending_ + 1 >= kMaxStartsOfUser && block.state == SpawnBlock::State::pending &&
        held_by(block.uid) >= kMaxStartsOfUser) {
      return true;
    }
  }
  return free == 0;
}

SpawnBlock* Spawner::find(pid_t pid) {
  for (std::uint32_t i = 0; i < made_; ++i) {
    if (holds(*blocks_[i]) && blocks_[i]->pid == pid) return blocks_[i];
  }
  return nullptr;
}

std::int64_t Spawner::first_deadline_us() const {
  std::int64_t first = INT64_MAX;
  for (std::uint32_t i = 0; pending_ > 0 && i < made_; ++i) {
    const SpawnBlock& block = *blocks_[i];
    if (block.state == SpawnBlock::State::pending && block.deadline_us < first) first = block.deadline_us;
  }
  return first;
}

long Spawner::clone_child(SpawnBlock& block, int into_cgroup) {
  constexpr std::uint64_t kFlags = CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  // The kernel stores the pid into the journal before the child can run: a keeper killed here leaves no unknown child.
  clone_args args{};
  args.flags = kFlags | (into_cgroup >= 0 ? CLONE_INTO_CGROUP : 0);
  args.child_tid = reinterpret_cast<std::uint64_t>(&block.alive);
  args.parent_tid = reinterpret_cast<std::uint64_t>(&block.slot->pid);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uint64_t>(block.stack);
  args.stack_size = sizeof block.stack;
  args.cgroup = into_cgroup >= 0 ? static_cast<std::uint64_t>(into_cgroup) : 0;
  // Without a cgroup the short form will do for kernels before 5.7.
  const long pid = raw_clone3(&args, into_cgroup >= 0 ? CLONE_ARGS_SIZE_VER2 : CLONE_ARGS_SIZE_VER0, run_child, &block);
  if (into_cgroup >= 0 || (pid != -ENOSYS && pid != -EPERM)) return pid;
  const auto entry = [](void* argument) -> int { run_child(argument); };
  const int old_style = ::clone(entry, block.stack + sizeof block.stack, static_cast<int>(kFlags) | SIGCHLD, &block,
                                &block.slot->pid, nullptr, &block.alive);
  return old_style >= 0 ? old_style : -errno;
}

}  // namespace appmesh::keeper

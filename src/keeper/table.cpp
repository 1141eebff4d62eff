#include "keeper/table.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>

#include <fcntl.h>

#include "keeper/log.h"
#include "keeper/process.h"

namespace appmesh::keeper {
namespace {

constexpr char kMagic[8] = "AMKEEP1";
constexpr off_t kFileBytes = static_cast<off_t>(sizeof(Slot)) * (kSlotCapacity + 1);
constexpr std::uint32_t kSlotsPerExtent = 128;

// Everything stored before is in place when the state is seen by a later keeper.
void store_state(Slot& slot, RunState state) {
  std::atomic_ref(slot.state).store(state, std::memory_order_release);
}

// Calls again until it succeeds or a moment has passed, when it gives EINTR. 0 or errno.
template <typename Call>
int for_a_moment(Call call) {
  struct sigaction interrupt{}, before{};
  interrupt.sa_handler = [](int) {};  // without SA_RESTART: the call returns
  ::sigaction(SIGALRM, &interrupt, &before);
  sigset_t alarm, blocked;
  ::sigemptyset(&alarm);
  ::sigaddset(&alarm, SIGALRM);
  ::sigprocmask(SIG_UNBLOCK, &alarm, &blocked);
  const itimerval moment{.it_interval = {0, 100'000}, .it_value = {0, 300'000}};
  ::setitimer(ITIMER_REAL, &moment, nullptr);
  const int error = call() == 0 ? 0 : errno;
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  return error;
}

bool is_alive(const JournalHeader& keeper) {
  std::uint64_t start_ticks = keeper.keeper_start_ticks;
  int error = 0;
  return start_ticks != 0 && (open_process(keeper.keeper_pid, start_ticks, error) || error != ESRCH);
}

// The record lock is the keeper's alone and ends with it. Keepers of before had only the flock, which lasts as long as
// a child of theirs holds a copy of the descriptor or their memory, for ever if the kernel holds the child: it counts
// only while the keeper that the journal names lives.
int lock(int file) {
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(file, F_SETLK, &whole) != 0) {
    if (errno != EAGAIN && errno != EACCES) return errno;
    // It may be dying.
    const int error = for_a_moment([&] { return ::fcntl(file, F_SETLKW, &whole); });
    if (error != 0) return error == EINTR ? EWOULDBLOCK : error;
  }
  if (::flock(file, LOCK_EX | LOCK_NB) == 0) return 0;
  if (errno != EWOULDBLOCK) return errno;
  const int error = for_a_moment([&] { return ::flock(file, LOCK_EX); });
  if (error != EINTR) return error;
  JournalHeader before{};
  const bool known = ::pread(file, &before, sizeof before, 0) == static_cast<ssize_t>(sizeof before);
  if (!known || is_alive(before)) return EWOULDBLOCK;
  log("a child of the keeper before, pid %d, hangs in the kernel: going on without it", before.keeper_pid);
  return 0;
}

void read_boot_id(char (&boot_id)[40]) {
  std::memset(boot_id, 0, sizeof boot_id);
  const Descriptor file{::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)};
  if (file && ::read(file.get(), boot_id, 36) != 36) std::memset(boot_id, 0, sizeof boot_id);
}

}  // namespace

int Table::open(int directory, int inherited, Predecessor& predecessor) {
  if (inherited >= 0) {
    file_.reset(inherited);
    if (const int error = lock(file_.get()); error != 0) return error;
  } else {
    file_.reset(::openat(directory, kJournalName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file_) return errno;
    if (const int error = lock(file_.get()); error != 0) return error;
  }
  bool created = false;
  if (const int error = map(created); error != 0) return error;

  char boot_id[40];
  read_boot_id(boot_id);
  const std::uint64_t own_start = read_start_ticks(::getpid());
  if (created) {
    predecessor = Predecessor::none;
  } else if (std::memcmp(boot_id, header_->boot_id, sizeof boot_id) != 0) {
    predecessor = Predecessor::earlier;
  } else if (header_->keeper_pid == ::getpid() && header_->keeper_start_ticks == own_start) {
    predecessor = Predecessor::ourselves;
  } else {
    predecessor = Predecessor::other;
  }
  rebuild();
  if (predecessor == Predecessor::ourselves) {
    keep_over_exec(false);
    return 0;
  }
  for (std::uint32_t i = 1; i <= header_->high_water; ++i) slots_[i].kept_count = 0;  // numbers of another process

  clear_unsent();
  // A predecessor of an earlier boot stays recognisable until its runs have been marked; see Keeper::take_over.
  if (predecessor == Predecessor::earlier) {
    for (std::uint32_t i = 1; i <= header_->high_water; ++i) {
      if (slots_[i].state == RunState::starting && slots_[i].pid == 0) release(slots_[i]);
      if (slots_[i].state == RunState::starting || slots_[i].state == RunState::running) {
        set_exited(slots_[i], Exit{.exited_us = realtime_us()}, slots_[i].flags | kExitUnknown);
      }
    }
  }
  std::memcpy(header_->boot_id, boot_id, sizeof boot_id);
  header_->keeper_start_ticks = own_start;
  header_->keeper_pid = ::getpid();
  ++header_->generation;
  return 0;
}

int Table::map(bool& created) {
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) return errno;
  if (status.st_size != kFileBytes && status.st_size != 0) return EPROTO;
  if (status.st_size == 0 && ::ftruncate(file_.get(), kFileBytes) != 0) return errno;
  void* memory = ::mmap(nullptr, kFileBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (memory == MAP_FAILED) return errno;
  slots_ = static_cast<Slot*>(memory);
  header_ = static_cast<JournalHeader*>(memory);

  // A mapped hole that the disk has no block for would kill us with SIGBUS, so blocks are asked for first.
  if (::fallocate(file_.get(), 0, 0, sizeof(Slot)) != 0 && errno == ENOSPC) return ENOSPC;
  created = header_->magic[0] == 0;
  if (created) {
    header_->slot_bytes = sizeof(Slot);
    header_->capacity = kSlotCapacity;
    std::memcpy(header_->magic, kMagic, sizeof kMagic);
  }
  const bool ours = std::memcmp(header_->magic, kMagic, sizeof kMagic) == 0 && header_->slot_bytes == sizeof(Slot) &&
                    header_->capacity == kSlotCapacity && header_->high_water <= kSlotCapacity;
  return ours ? 0 : EPROTO;
}

void Table::rebuild() {
  allocated_ = header_->high_water;
  for (std::uint32_t i = header_->high_water; i >= 1; --i) {  // downwards, so that the lowest free slot is used first
    Slot& slot = slots_[i];
    slot.pidfd = -1;
    switch (slot.state) {
      case RunState::starting:
      case RunState::running:
        if (slot.tag_bytes > kMaxTagBytes) slot.tag_bytes = 0;
        ++used_;
        ++living_;
        link_id(slot);
        if (slot.pid > 0) link_pid(slot);
        continue;
      case RunState::exited:
        if (slot.tag_bytes > kMaxTagBytes) slot.tag_bytes = 0;
        ++used_;
        link_id(slot);
        continue;
      case RunState::free:
        break;
      default:
        log("slot %u of the journal has the impossible state %u: freed", i, static_cast<unsigned>(slot.state));
        store_state(slot, RunState::free);
    }
    slot.exit_unsent = 0;
    slot.next_in_queue = free_;
    free_ = static_cast<SlotIndex>(i);
  }
  for (std::uint32_t i = 1; i <= header_->high_water; ++i) {
    if (slots_[i].exit_unsent != 0) queue_exit(slots_[i]);
  }
}

Slot* Table::find(const RunId& id) {
  for (SlotIndex i = by_id_[bucket_of(id)]; i != 0; i = slots_[i].next_by_id) {
    if (slots_[i].run_id == id) return &slots_[i];
  }
  return nullptr;
}

Slot* Table::find_pid(pid_t pid) {
  for (SlotIndex i = by_pid_[bucket_of(pid)]; i != 0; i = slots_[i].next_by_pid) {
    if (slots_[i].pid == pid) return &slots_[i];
  }
  return nullptr;
}

Slot* Table::allocate(const RunId& id, const char* tag, std::size_t tag_bytes, int& error) {
  if (free_ == 0) {
    if (header_->high_water == kSlotCapacity) {
      error = ENOBUFS;
      return nullptr;
    }
    const std::uint32_t next = header_->high_water + 1;
    if (next > allocated_) {
      const off_t from = static_cast<off_t>(sizeof(Slot)) * next;
      const off_t wanted = static_cast<off_t>(sizeof(Slot)) * kSlotsPerExtent;
      const off_t length = from + wanted < kFileBytes ? wanted : kFileBytes - from;
      if (::fallocate(file_.get(), 0, from, length) != 0 && errno == ENOSPC) {
        error = ENOSPC;
        return nullptr;
      }
      allocated_ = next + kSlotsPerExtent - 1;
    }
    slots_[next].next_in_queue = 0;
    free_ = static_cast<SlotIndex>(next);
    std::atomic_ref(header_->high_water).store(next, std::memory_order_release);
  }
  Slot& slot = slots_[free_];
  free_ = slot.next_in_queue;
  slot.flags = 0;
  slot.run_id = id;
  slot.pid = 0;
  slot.tag_bytes = static_cast<std::uint16_t>(tag_bytes);
  slot.exit_unsent = 0;
  slot.sequence = ++header_->sequence;
  slot.start_ticks = 0;
  slot.started_us = 0;
  slot.exit = {};
  slot.spawn_step = SpawnStep::none;
  slot.spawn_error = 0;
  slot.spawn_detail = 0;
  slot.pidfd = -1;
  slot.kept_count = 0;
  std::memcpy(slot.tag, tag, tag_bytes);
  store_state(slot, RunState::starting);
  link_id(slot);
  ++used_;
  ++living_;
  return &slot;
}

void Table::set_running(Slot& slot, std::uint32_t flags, std::int64_t started_us) {
  slot.flags = flags;
  slot.started_us = started_us;
  store_state(slot, RunState::running);
  if (find_pid(slot.pid) != &slot) link_pid(slot);
}

void Table::set_exited(Slot& slot, const Exit& exit, std::uint32_t flags) {
  slot.exit = exit;
  slot.flags = flags;
  store_state(slot, RunState::exited);
  if (slot.pidfd >= 0) Descriptor{slot.pidfd}.reset();
  slot.pidfd = -1;
  unlink_pid(slot);
  --living_;
}

void Table::release(Slot& slot) {
  if (slot.exit_unsent != 0) exit_sent(slot);
  if (slot.state != RunState::exited) {
    unlink_pid(slot);
    --living_;
  }
  unlink_id(slot);
  drop_kept(slot);
  store_state(slot, RunState::free);
  slot.next_in_queue = free_;
  free_ = index_of(slot);
  --used_;
}

void Table::quarantine(Slot& slot) {
  unlink_id(slot);
  drop_kept(slot);
  --living_;
  --used_;
}

void Table::release_quarantined(Slot& slot) {
  store_state(slot, RunState::free);
  slot.next_in_queue = free_;
  free_ = index_of(slot);
}

bool Table::keep(Slot& slot, Descriptor descriptor) {
  if (slot.kept_count == kMaxKept) return false;
  slot.kept[slot.kept_count] = descriptor.release();
  ++slot.kept_count;
  return true;
}

void Table::drop_kept(Slot& slot) {
  const std::uint8_t count = slot.kept_count;
  slot.kept_count = 0;
  for (std::uint8_t i = 0; i < count && i < kMaxKept; ++i) Descriptor{slot.kept[i]}.reset();
}

void Table::keep_over_exec(bool keep) {
  for (std::uint32_t i = 1; i <= header_->high_water; ++i) {
    const Slot& slot = slots_[i];
    if (slot.state == RunState::free) continue;
    for (std::uint8_t k = 0; k < slot.kept_count && k < kMaxKept; ++k)
      ::fcntl(slot.kept[k], F_SETFD, keep ? 0 : FD_CLOEXEC);
  }
}

void Table::change_pid(Slot& slot, pid_t pid, std::uint64_t start_ticks) {
  unlink_pid(slot);
  slot.flags |= kRunAdopted;
  slot.start_ticks = start_ticks;
  slot.pid = pid;
  link_pid(slot);
}

void Table::queue_exit(Slot& slot) {
  slot.exit_unsent = 1;
  slot.next_in_queue = 0;
  if (last_unsent_ != 0) {
    slots_[last_unsent_].next_in_queue = index_of(slot);
  } else {
    first_unsent_ = index_of(slot);
  }
  last_unsent_ = index_of(slot);
}

Slot* Table::first_unsent() {
  return first_unsent_ != 0 ? &slots_[first_unsent_] : nullptr;
}

void Table::exit_sent(Slot& slot) {
  // Nearly always the first: only a run forgotten before its exit was sent is further back.
  SlotIndex before = 0;
  for (SlotIndex i = first_unsent_; i != 0 && i != index_of(slot); i = slots_[i].next_in_queue) before = i;
  (before != 0 ? slots_[before].next_in_queue : first_unsent_) = slot.next_in_queue;
  if (last_unsent_ == index_of(slot)) last_unsent_ = before;
  slot.exit_unsent = 0;
}

void Table::clear_unsent() {
  while (Slot* slot = first_unsent()) exit_sent(*slot);
}

void Table::link_id(Slot& slot) {
  SlotIndex& bucket = by_id_[bucket_of(slot.run_id)];
  slot.next_by_id = bucket;
  bucket = index_of(slot);
}

void Table::link_pid(Slot& slot) {
  SlotIndex& bucket = by_pid_[bucket_of(slot.pid)];
  slot.next_by_pid = bucket;
  bucket = index_of(slot);
}

void Table::unlink_id(const Slot& slot) {
  SlotIndex* link = &by_id_[bucket_of(slot.run_id)];
  while (*link != 0 && *link != index_of(slot)) link = &slots_[*link].next_by_id;
  if (*link != 0) *link = slot.next_by_id;
}

void Table::unlink_pid(const Slot& slot) {
  SlotIndex* link = &by_pid_[bucket_of(slot.pid)];
  while (*link != 0 && *link != index_of(slot)) link = &slots_[*link].next_by_pid;
  if (*link != 0) *link = slot.next_by_pid;
}

std::size_t Table::bucket_of(const RunId& id) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  for (const std::uint8_t byte : id.bytes) hash = (hash ^ byte) * 16777619U;
  return hash % kBuckets;
}

}  // namespace appmesh::keeper

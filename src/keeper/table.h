// The table of runs, which is the journal too: a file of fixed slots mapped into memory, so that kill -9 of the keeper
// at any instant loses nothing. Owned by the Keeper; keeper thread only. No heap: lists and indexes are links in slots.
//
//   free --allocate--> starting --set_running--> running --set_exited--> exited --release--> free
//                      starting --release (spawn failed)--> free
//                      starting --quarantine (spawn given up)--> starting, unknown --release_quarantined--> free
//
// The state of a slot is written last, so whatever a state promises is in place. In `starting` the kernel itself stores
// pid before the child runs (CLONE_PARENT_SETTID) and the child stores its start time and, if it fails, its error.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/types.h>

#include "keeper/descriptor.h"
#include "keeper/protocol.h"

namespace appmesh::keeper {

using SlotIndex = std::uint16_t;  // 0 is the header and means "none"

struct Slot {
  RunState state;
  std::uint32_t flags;  // RunFlag
  RunId run_id;
  std::int32_t pid;
  std::uint16_t tag_bytes;
  std::uint8_t exit_unsent;  // 1: waits in the queue of exits for the present connection
  std::uint8_t reserved1;
  std::uint64_t sequence;
  std::uint64_t start_ticks;
  std::int64_t started_us;
  Exit exit;
  SpawnStep spawn_step;  // where the child is, while starting
  std::int32_t spawn_error;
  std::uint32_t spawn_detail;
  // Links and descriptors mean something only to the process that made them; opening the table makes them anew.
  std::int32_t pidfd;  // of adopted runs, else -1
  SlotIndex next_by_id;
  SlotIndex next_by_pid;
  SlotIndex next_in_queue;  // of unsent exits, or of free slots
  std::uint8_t kept_count;
  std::uint8_t reserved2;
  std::int32_t kept[kMaxKept];  // descriptors of this process, see protocol.h
  std::uint8_t reserved3[120];
  char tag[kMaxTagBytes];
};
static_assert(sizeof(Slot) == 640);

struct JournalHeader {
  char magic[8];
  std::uint32_t slot_bytes;
  std::uint32_t capacity;
  std::uint32_t high_water;  // slots 1..high_water have been used
  std::int32_t keeper_pid;   // with keeper_start_ticks: tells a re-exec from another keeper
  std::uint64_t keeper_start_ticks;
  std::uint64_t generation;
  std::uint64_t sequence;
  char boot_id[40];
};
static_assert(sizeof(JournalHeader) <= sizeof(Slot));

// What the present owner of the journal has to know about the one before.
enum class Predecessor {
  none,       // a new journal
  ourselves,  // this very process, before a re-exec: its children are ours
  other,      // another process of this boot: its children live on without being ours
  earlier,    // of an earlier boot: nothing of it lives
};

class Table {
 public:
  // Opens or creates the journal in the directory, takes its lock (waiting a moment for a keeper that is dying) and
  // rebuilds lists and indexes. inherited >= 0 is the locked file of before a re-exec. 0, EWOULDBLOCK when another
  // keeper has it, EPROTO when it is not a journal of this layout, or an errno.
  int open(int directory, int inherited, Predecessor& predecessor);

  const JournalHeader& header() const { return *header_; }
  int descriptor() const { return file_.get(); }
  std::uint32_t used() const { return used_; }      // slots that are not free
  std::uint32_t living() const { return living_; }  // of those, not exited
  std::uint32_t high_water() const { return header_->high_water; }
  Slot& at(std::uint32_t index) { return slots_[index]; }
  SlotIndex index_of(const Slot& slot) const { return static_cast<SlotIndex>(&slot - slots_); }

  // nullptr: not there. By pid only living runs are found.
  Slot* find(const RunId& id);
  Slot* find_pid(pid_t pid);

  // A slot in state starting; nullptr with error ENOSPC (the disk) or ENOBUFS (the table is full). id must be new.
  Slot* allocate(const RunId& id, const char* tag, std::size_t tag_bytes, int& error);
  void set_running(Slot& slot, std::uint32_t flags, std::int64_t started_us);
  void set_exited(Slot& slot, const Exit& exit, std::uint32_t flags);
  void release(Slot& slot);
  // A failed start whose child the kernel still holds: nobody finds it, and it counts as no run, but the child may yet
  // write into it.
  void quarantine(Slot& slot);
  void release_quarantined(Slot& slot);

  // Takes the descriptor over and closes it with the slot. False: the run has kMaxKept already.
  bool keep(Slot& slot, Descriptor descriptor);
  // Whether kept descriptors outlive an exec.
  void keep_over_exec(bool keep);
  // Another process stands for the run; both must live, and the new one must be watched by pidfd.
  void change_pid(Slot& slot, pid_t pid, std::uint64_t start_ticks);

  // Exits that the connection has not been told, oldest first.
  void queue_exit(Slot& slot);
  Slot* first_unsent();
  void exit_sent(Slot& slot);
  void clear_unsent();

 private:
  int map(bool& created);
  void rebuild();
  void drop_kept(Slot& slot);
  void link_id(Slot& slot);
  void link_pid(Slot& slot);
  void unlink_id(const Slot& slot);
  void unlink_pid(const Slot& slot);

  static constexpr std::size_t kBuckets = 8192;
  static std::size_t bucket_of(const RunId& id);
  static std::size_t bucket_of(pid_t pid) { return static_cast<std::uint32_t>(pid) % kBuckets; }

  Descriptor file_;
  JournalHeader* header_ = nullptr;
  Slot* slots_ = nullptr;
  std::uint32_t used_ = 0;
  std::uint32_t living_ = 0;
  std::uint32_t allocated_ = 0;  // slots whose blocks the file system has promised
  SlotIndex free_ = 0;
  SlotIndex first_unsent_ = 0;
  SlotIndex last_unsent_ = 0;
  SlotIndex by_id_[kBuckets] = {};
  SlotIndex by_pid_[kBuckets] = {};
};

}  // namespace appmesh::keeper

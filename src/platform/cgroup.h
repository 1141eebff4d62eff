// Control groups: one cgroup per run, so that none of its processes escapes a stop and limits hold for all of them
// together. Works with v2 alone, v1 alone, or both mounted at once (then v2 is for kill and membership, v1 for the
// limits that v2 lacks). Thin: no policy, no logging. A CgroupTree is immutable after open() and may be used on any
// thread; a Cgroup belongs to one thread at a time. Nothing is removed by a destructor: cgroups outlive the daemon with
// their runs.
//
// Layout: <mount>/<parent>/<name>, the parent being of one daemon ("appmesh-<hash of its home>"). v1 controllers get
// the same two directories each. Reference: Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <sys/types.h>

#include "core/error.h"
#include "platform/unique_fd.h"

namespace appmesh::platform {

// 0 means no limit. Megabytes are MiB, as the published daemon counts them.
struct CgroupLimits {
  std::int64_t memory_mb = 0;
  std::int64_t memory_virt_mb = 0;  // memory + swap together, >= memory_mb
  std::int64_t cpu_shares = 0;      // the v1 scale 2..262144, 1024 is the default of everybody
  std::int64_t pids = 0;
  [[nodiscard]] bool empty() const { return memory_mb == 0 && memory_virt_mb == 0 && cpu_shares == 0 && pids == 0; }
  bool operator==(const CgroupLimits&) const = default;
};

class Cgroup {
 public:
  [[nodiscard]] const std::string& name() const { return name_; }
  // Directory descriptor of the v2 cgroup for clone3(CLONE_INTO_CGROUP), or -1 on a host with v1 only. Let the Cgroup
  // go after the spawn and open it again by name when it is needed: a descriptor a run would add up.
  [[nodiscard]] int directory_fd() const { return v2_.get(); }
  // Write-opened cgroup.procs of each v1 directory of this cgroup: the child writes "0" into each before it execs.
  [[nodiscard]] Result<std::vector<UniqueFd>> open_v1_procs() const;

  // The v2 file for inotify (IN_MODIFY): it changes when the last process has gone. Empty on a host with v1 only.
  [[nodiscard]] std::filesystem::path events_path() const;
  // Whether it is still the one that was opened: anybody with the right to may have removed it while it was empty.
  [[nodiscard]] bool exists() const;
  // Whether a process that is not a zombie is in it (or below it).
  [[nodiscard]] Result<bool> is_populated() const;
  // Members of it and of cgroups made below it, each once, in no order.
  [[nodiscard]] Result<std::vector<pid_t>> processes() const;
  // SIGKILL to all, atomically where the kernel has cgroup.kill (5.14), else rounds until nobody new appears.
  [[nodiscard]] Result<void> kill_all() const;
  // The signal to each member through a pidfd whose membership was checked after it was opened, so a recycled pid is
  // never hit. A member forked during the walk may be missed: repeat, or end with kill_all(). Returns how many got it.
  [[nodiscard]] Result<std::size_t> signal_all(int signal_number) const;
  // A pid into this cgroup (adoption).
  [[nodiscard]] Result<void> add_process(pid_t pid) const;

  // Sets what is not 0, lifts what is 0 where it was set before. May be called while processes run. Error unavailable
  // that names the limit and the missing controller.
  [[nodiscard]] Result<void> set_limits(const CgroupLimits& limits);
  // The same for a cgroup that an earlier holder may have limited: what is 0 is lifted whatever it was.
  [[nodiscard]] Result<void> change_limits(const CgroupLimits& limits);
  // Out-of-memory kills counted in it (memory.events, or memory.oom_control of v1); 0 where nobody counts.
  [[nodiscard]] std::uint64_t oom_kills() const;
  [[nodiscard]] bool v2_only() const { return v1_.empty(); }

 private:
  friend class CgroupTree;
  struct Directory {
    std::string controller;
    std::filesystem::path path;
  };
  Cgroup() = default;
  [[nodiscard]] const Directory* v1_of(std::string_view controller) const;
  [[nodiscard]] bool v2_has(const std::string& controller) const;
  [[nodiscard]] Result<std::filesystem::path> directory_of(const std::string& controller) const;
  [[nodiscard]] Result<void> set_memory(const CgroupLimits& limits) const;

  std::string name_;
  UniqueFd v2_;
  std::filesystem::path v2_path_;
  std::vector<Directory> v1_;
  CgroupLimits limits_;
};

enum class CgroupKind : std::uint8_t { plain, limited };  // limited: also made in the v1 controllers

class CgroupTree {
 public:
  struct Options {
    std::string parent = "appmesh";
    std::string older_parent = {};  // where an older daemon made those of its runs: found there, never made there
    std::filesystem::path mountinfo = "/proc/self/mountinfo";
    std::filesystem::path root = "/";  // put before every mount point: a fake tree in tests
  };

  // Never fails: a host without usable cgroups gives a tree that says so.
  [[nodiscard]] static CgroupTree open(Options options);

  [[nodiscard]] bool is_available() const { return unavailable_.empty(); }
  [[nodiscard]] const std::string& unavailable_reason() const { return unavailable_; }
  [[nodiscard]] bool has_v2() const { return !v2_.empty(); }
  [[nodiscard]] bool kill_supported() const { return kill_supported_; }
  // Why these limits cannot be made here; success when they can.
  [[nodiscard]] Result<void> can_limit(const CgroupLimits& limits) const;

  // Names are 1..200 of [A-Za-z0-9_.-], not starting with a dot. Errors: unavailable, conflict when it exists.
  [[nodiscard]] Result<Cgroup> create(const std::string& name, CgroupKind kind) const;
  // Error not_found.
  [[nodiscard]] Result<Cgroup> open_existing(const std::string& name) const;
  [[nodiscard]] Result<std::vector<std::string>> names() const;
  // It and what apps made below it; must be empty of processes, else conflict. A cgroup that is gone is success.
  [[nodiscard]] Result<void> remove(const std::string& name) const;
  // Takes away the parent where no run is left in it, at a shutdown. Nothing can be created afterwards.
  void remove_empty_parent() const;

 private:
  struct Mount {
    std::string controller;
    std::filesystem::path parent;  // <mount>/<parent>
  };
  [[nodiscard]] const Mount* v1_of(std::string_view controller) const;

  [[nodiscard]] std::vector<std::filesystem::path> beside(const std::filesystem::path& parent) const;

  std::string older_parent_;
  std::filesystem::path v2_;                 // <mount>/<parent>, empty without v2
  std::vector<std::string> v2_controllers_;  // enabled for children of the parent
  std::vector<Mount> v1_;                    // memory, cpu, pids where v2 does not have them
  std::string unavailable_;
  bool kill_supported_ = false;
};

// Empty plain cgroups of ended runs for the next ones: making one costs some 50 µs and removing it as much again.
// Bounded, holds a descriptor for each that is free; used on one thread. Names are the pool's own, so remember
// Cgroup::name() with the run; and an event about a cgroup may belong to the run that had it before: look at
// is_populated().
class CgroupPool {
 public:
  explicit CgroupPool(const CgroupTree& tree, std::size_t capacity = 16) : tree_(tree), capacity_(capacity) {}

  // One that was given back, or a new one with a random name.
  [[nodiscard]] Result<Cgroup> take();
  // Keeps it when this pool gave it out, nobody killed it, it is plain and untouched, and there is room; else removes
  // it. A killed one must never be used again: since Linux 6.14 a child that is cloned into a cgroup whose cgroup.kill
  // was ever written dies of SIGKILL at birth, because the kernel compares that with its parent's cgroup. Error
  // conflict: still populated.
  enum class Fate : std::uint8_t { untouched, killed };
  [[nodiscard]] Result<void> give_back(Cgroup cgroup, Fate fate);
  [[nodiscard]] std::size_t size() const { return free_.size(); }
  // Removes what is kept (at shutdown; after a crash names() finds the empty ones).
  void clear();

 private:
  const CgroupTree& tree_;
  std::size_t capacity_;
  std::vector<Cgroup> free_;
  std::unordered_set<std::string> lent_;  // what an earlier daemon made has a past that nobody knows
};

}  // namespace appmesh::platform

// Past 500 lines: versions 1 and 2 of cgroups and the pool of empty ones, which share their paths and reasons.
#include "platform/cgroup.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <set>

#include <sys/stat.h>

#include <fcntl.h>
#include <unistd.h>

#include "platform/file.h"
#include "platform/mount_info.h"
#include "platform/process.h"
#include "platform/random.h"

namespace appmesh::platform {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxProcsBytes = 64U << 20U;
constexpr std::uint64_t kMaxSmallFileBytes = 65536;
constexpr std::size_t kMaxChildren = 100'000;
constexpr int kMaxDepth = 32;
constexpr std::size_t kSignalBatch = 128;  // pidfds open at once
constexpr int kMaxKillRounds = 200;
constexpr std::int64_t kMaxMegabytes = std::int64_t{1} << 40U;
constexpr std::string_view kLimitControllers[] = {"memory", "cpu", "pids"};

// Control files exist already; a write is one write(2), and its errno is the kernel's verdict on the value.
Result<void> write_control(const fs::path& path, std::string_view text) {
  const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_TRUNC)};
  if (!fd) return file_error("open", path, errno);
  if (::write(fd.get(), text.data(), text.size()) < 0) return file_error("write", path, errno);
  return {};
}

bool is_there(const fs::path& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool contains_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const bool starts = at == 0 || text[at - 1] == ' ' || text[at - 1] == '\n';
    const std::size_t end = at + word.size();
    if (starts && (end == text.size() || text[end] == ' ' || text[end] == '\n')) return true;
  }
  return false;
}

// The number behind `key` in a flat keyed file such as memory.events.
std::uint64_t keyed_number(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ' ') {
      std::uint64_t value = 0;
      std::from_chars(line.data() + key.size() + 1, line.data() + line.size(), value);
      return value;
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return 0;
}

void parse_pids(std::string_view text, std::set<pid_t>& pids) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    pid_t pid = 0;
    const auto parsed = std::from_chars(at, end, pid);
    if (parsed.ec == std::errc{} && pid > 0) pids.insert(pid);  // 0: a process outside of our pid namespace
    at = std::max(parsed.ptr, at) + 1;
  }
}

Result<std::vector<fs::path>> child_directories(const fs::path& directory) {
  auto fd = open_directory(directory);
  if (!fd) return std::unexpected(fd.error());
  auto names = list_directory(fd->get(), kMaxChildren);
  if (!names) return std::unexpected(names.error());
  std::vector<fs::path> children;
  for (const auto& name : *names) {
    struct stat info{};
    if (::fstatat(fd->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
      children.push_back(directory / name);
    }
  }
  return children;
}

Result<void> collect_processes(const fs::path& directory, std::set<pid_t>& pids, int depth) {
  auto text = read_file(directory / "cgroup.procs", kMaxProcsBytes);
  if (!text) {
    if (depth > 0 && !is_there(directory)) return {};  // an app may remove what it made
    return std::unexpected(text.error());
  }
  parse_pids(*text, pids);
  struct stat info{};
  // Each child directory adds a link: most cgroups have none, and then need no walk.
  if (::stat(directory.c_str(), &info) == 0 && info.st_nlink == 2) return {};
  if (depth == kMaxDepth) return {};
  auto children = child_directories(directory);
  if (!children) return std::unexpected(children.error());
  for (const auto& child : *children) {
    if (auto done = collect_processes(child, pids, depth + 1); !done) return done;
  }
  return {};
}

Result<void> remove_tree(const fs::path& directory, int depth) {
  if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
  const int error_number = errno;
  // EBUSY stands for processes as well as for children, see cgroup-v2.rst; take the children away and try again.
  if ((error_number == EBUSY || error_number == ENOTEMPTY) && depth < kMaxDepth) {
    const auto children = child_directories(directory);
    if (children && !children->empty()) {
      for (const auto& child : *children) {
        if (auto done = remove_tree(child, depth + 1); !done) return done;
      }
      if (::rmdir(directory.c_str()) == 0 || errno == ENOENT) return {};
    }
  }
  if (error_number == EBUSY) return fail(ErrorKind::conflict, "remove " + directory.string() + ": it has processes");
  return file_error("remove", directory, error_number);
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 200 && name.front() != '.' && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
}

std::string bytes_of(std::int64_t megabytes) {
  return std::to_string(std::min(megabytes, kMaxMegabytes) * 1024 * 1024);
}

std::unexpected<Error> no_controller(std::string_view limit, std::string_view controller) {
  return fail(ErrorKind::unavailable, "resource_limit." + std::string{limit} +
                                          ": this host gives no cgroup controller \"" + std::string{controller} + "\"");
}

Result<void> name_limit(Result<void> result, std::string_view limit) {
  if (!result) {
    result.error().kind = ErrorKind::unavailable;
    result.error().message = "resource_limit." + std::string{limit} + ": " + result.error().message;
  }
  return result;
}

}  // namespace

// ---- Cgroup

const Cgroup::Directory* Cgroup::v1_of(std::string_view controller) const {
  const auto found = std::ranges::find(v1_, controller, &Directory::controller);
  return found == v1_.end() ? nullptr : &*found;
}

bool Cgroup::v2_has(const std::string& controller) const {
  // The main file of each controller is there exactly when the parent has enabled it.
  const char* file = controller == "memory" ? "memory.max" : controller == "cpu" ? "cpu.weight" : "pids.max";
  return v2_ && is_there(v2_path_ / file);
}

Result<fs::path> Cgroup::directory_of(const std::string& controller) const {
  if (v2_has(controller)) return v2_path_;
  if (const auto* v1 = v1_of(controller)) return v1->path;
  return fail(ErrorKind::unavailable, "no controller " + controller);
}

Result<std::vector<UniqueFd>> Cgroup::open_v1_procs() const {
  std::vector<UniqueFd> descriptors;
  for (const auto& directory : v1_) {
    const auto path = directory.path / "cgroup.procs";
    UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!fd) return file_error("open", path, errno);
    descriptors.push_back(std::move(fd));
  }
  return descriptors;
}

fs::path Cgroup::events_path() const {
  return v2_ ? v2_path_ / "cgroup.events" : fs::path{};
}

bool Cgroup::exists() const {
  if (!v2_) return is_there(v1_.front().path);
  struct stat opened{}, named{};
  return ::fstat(v2_.get(), &opened) == 0 && ::stat(v2_path_.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
}

Result<bool> Cgroup::is_populated() const {
  if (v2_) {
    // By hand, as it is asked twice a run: the kernel gives these few lines with one read.
    const UniqueFd fd{::openat(v2_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC)};
    std::array<char, 256> text;
    const ssize_t count = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
    if (count < 0) return file_error("read", v2_path_ / "cgroup.events", errno);
    return keyed_number({text.data(), static_cast<std::size_t>(count)}, "populated") != 0;
  }
  const auto members = processes();
  if (!members) return std::unexpected(members.error());
  return !members->empty();
}

Result<std::vector<pid_t>> Cgroup::processes() const {
  std::set<pid_t> pids;
  const fs::path& directory = v2_ ? v2_path_ : v1_.front().path;
  if (auto done = collect_processes(directory, pids, 0); !done) return std::unexpected(done.error());
  return std::vector<pid_t>(pids.begin(), pids.end());
}

Result<void> Cgroup::kill_all() const {
  if (v2_) {
    const UniqueFd fd{::openat(v2_.get(), "cgroup.kill", O_WRONLY | O_CLOEXEC)};
    if (fd) return write_all(fd.get(), "1");
  }
  // A fork bomb could outrun the rounds; where forks can be forbidden first, they end at once.
  if (const auto pids = directory_of("pids")) (void)write_control(*pids / "pids.max", "0");
  std::set<pid_t> signalled;
  for (int round = 0; round < kMaxKillRounds; ++round) {
    const auto members = processes();
    if (!members) return std::unexpected(members.error());
    if (std::ranges::all_of(*members, [&](pid_t pid) { return signalled.contains(pid); })) return {};
    if (auto done = signal_all(9); !done) return std::unexpected(done.error());
    signalled.insert(members->begin(), members->end());
  }
  return fail(ErrorKind::unavailable, "processes of cgroup " + name_ + " appear faster than they can be killed");
}

Result<std::size_t> Cgroup::signal_all(int signal_number) const {
  const auto members = processes();
  if (!members) return std::unexpected(members.error());
  std::size_t count = 0;
  Error refused;
  for (std::size_t from = 0; from < members->size(); from += kSignalBatch) {
    std::vector<std::pair<pid_t, UniqueFd>> opened;
    for (std::size_t i = from; i < std::min(from + kSignalBatch, members->size()); ++i) {
      if (auto fd = pidfd_open((*members)[i])) opened.emplace_back((*members)[i], std::move(*fd));
    }
    // A pid still a member now that its pidfd is held: the pidfd is the member's, or of somebody dead.
    const auto still = processes();
    if (!still) return std::unexpected(still.error());
    for (const auto& [pid, fd] : opened) {
      if (!std::ranges::binary_search(*still, pid)) continue;
      const auto sent = pidfd_send_signal(fd.get(), signal_number);
      if (sent) {
        ++count;
      } else if (sent.error().kind != ErrorKind::not_found) {
        refused = sent.error();
      }
    }
  }
  if (!refused.message.empty()) return std::unexpected(refused);
  return count;
}

Result<void> Cgroup::add_process(pid_t pid) const {
  const std::string text = std::to_string(pid);
  if (v2_) {
    if (auto done = write_control(v2_path_ / "cgroup.procs", text); !done) return done;
  }
  for (const auto& directory : v1_) {
    if (auto done = write_control(directory.path / "cgroup.procs", text); !done) return done;
  }
  return {};
}

Result<void> Cgroup::set_memory(const CgroupLimits& limits) const {
  const auto directory = directory_of("memory");
  if (!directory) return no_controller(limits.memory_mb > 0 ? "memory_mb" : "memory_virt_mb", "memory");
  const std::int64_t memory_mb = limits.memory_mb > 0 ? limits.memory_mb : limits.memory_virt_mb;
  if (v2_has("memory")) {
    auto done = write_control(*directory / "memory.max", memory_mb > 0 ? bytes_of(memory_mb) : "max");
    if (!done) return name_limit(std::move(done), "memory_mb");
    // v2 counts swap by itself, so the rest of the sum is swap's.
    if (limits.memory_virt_mb > 0 || limits_.memory_virt_mb > 0) {
      const auto swap = limits.memory_virt_mb > 0 ? bytes_of(limits.memory_virt_mb - memory_mb) : std::string{"max"};
      return name_limit(write_control(*directory / "memory.swap.max", swap), "memory_virt_mb");
    }
    return {};
  }
  // v1 keeps limit <= memsw at every moment: open the outer bound, set the inner one, close the outer.
  const fs::path outer = *directory / "memory.memsw.limit_in_bytes";
  if (is_there(outer)) {
    if (auto done = write_control(outer, "-1"); !done) return name_limit(std::move(done), "memory_virt_mb");
  }
  auto done = write_control(*directory / "memory.limit_in_bytes", memory_mb > 0 ? bytes_of(memory_mb) : "-1");
  if (!done) return name_limit(std::move(done), "memory_mb");
  if (limits.memory_virt_mb > 0) {
    return name_limit(write_control(outer, bytes_of(limits.memory_virt_mb)), "memory_virt_mb");
  }
  return {};
}

Result<void> Cgroup::set_limits(const CgroupLimits& limits) {
  if (limits.memory_virt_mb > 0 && limits.memory_virt_mb < limits.memory_mb) {
    return fail(ErrorKind::invalid_argument, "resource_limit.memory_virt_mb is less than memory_mb");
  }
  const bool memory = limits.memory_mb > 0 || limits.memory_virt_mb > 0;
  const bool had_memory = limits_.memory_mb > 0 || limits_.memory_virt_mb > 0;
  if (memory || had_memory) {
    if (auto done = set_memory(limits); !done) return done;
    limits_.memory_mb = limits.memory_mb;
    limits_.memory_virt_mb = limits.memory_virt_mb;
  }
  if (limits.cpu_shares > 0 || limits_.cpu_shares > 0) {
    const auto directory = directory_of("cpu");
    if (!directory) return no_controller("cpu_shares", "cpu");
    const std::int64_t shares = std::clamp<std::int64_t>(limits.cpu_shares > 0 ? limits.cpu_shares : 1024, 2, 262144);
    // The mapping that runc and systemd use: 2..262144 onto 1..10000. The default maps to the default, not to 39.
    const std::int64_t weight = limits.cpu_shares > 0 ? 1 + ((shares - 2) * 9999) / 262142 : 100;
    auto done = v2_has("cpu") ? write_control(*directory / "cpu.weight", std::to_string(weight))
                              : write_control(*directory / "cpu.shares", std::to_string(shares));
    if (!done) return name_limit(std::move(done), "cpu_shares");
    limits_.cpu_shares = limits.cpu_shares;
  }
  if (limits.pids > 0 || limits_.pids > 0) {
    const auto directory = directory_of("pids");
    if (!directory) return no_controller("pids", "pids");
    auto done = write_control(*directory / "pids.max", limits.pids > 0 ? std::to_string(limits.pids) : "max");
    if (!done) return name_limit(std::move(done), "pids");
    limits_.pids = limits.pids;
  }
  return {};
}

Result<void> Cgroup::change_limits(const CgroupLimits& limits) {
  const auto memory = directory_of("memory");
  limits_.memory_mb = memory ? 1 : 0;
  limits_.memory_virt_mb = memory && is_there(*memory / "memory.swap.max") ? 1 : 0;
  limits_.cpu_shares = directory_of("cpu") ? 1 : 0;
  limits_.pids = directory_of("pids") ? 1 : 0;
  return set_limits(limits);
}

std::uint64_t Cgroup::oom_kills() const {
  const auto directory = directory_of("memory");
  if (!directory) return 0;
  const auto text =
      read_file(*directory / (v2_has("memory") ? "memory.events" : "memory.oom_control"), kMaxSmallFileBytes);
  return text ? keyed_number(*text, "oom_kill") : 0;
}

// ---- CgroupTree

CgroupTree CgroupTree::open(Options options) {
  CgroupTree tree;
  tree.older_parent_ = options.older_parent;
  const auto mounts = read_mount_info(options.mountinfo);
  if (!mounts) {
    tree.unavailable_ = mounts.error().message;
    return tree;
  }
  std::string reason = "no cgroup file system is mounted";
  const auto make_parent = [&](const fs::path& mount_point) -> fs::path {
    // A path of the mount table starts with '/', and fs::path would drop the root of a fake tree for it.
    fs::path parent = options.root / mount_point.relative_path() / options.parent;
    if (auto made = make_dirs(parent, 0755); !made) {
      reason = made.error().message;
      return {};
    }
    if (::access(parent.c_str(), W_OK) != 0) {
      reason = file_error("write to", parent, errno).error().message;
      return {};
    }
    return parent;
  };

  for (const auto& mount : *mounts) {
    if (mount.type != "cgroup2" || tree.has_v2()) continue;
    tree.v2_ = make_parent(mount.point);
    if (!tree.has_v2()) continue;
    tree.kill_supported_ = is_there(tree.v2_ / "cgroup.kill");
    for (const auto controller : kLimitControllers) {
      // From the top down; refused where the controller belongs to v1 or a directory has processes itself.
      const std::string enable = "+" + std::string{controller};
      (void)write_control(tree.v2_.parent_path() / "cgroup.subtree_control", enable);
      (void)write_control(tree.v2_ / "cgroup.subtree_control", enable);
      const auto enabled = read_file(tree.v2_ / "cgroup.subtree_control", kMaxSmallFileBytes);
      if (enabled && contains_word(*enabled, controller)) tree.v2_controllers_.emplace_back(controller);
    }
  }
  for (const auto controller : kLimitControllers) {
    if (std::ranges::find(tree.v2_controllers_, controller) != tree.v2_controllers_.end()) continue;
    for (const auto& mount : *mounts) {
      if (mount.type != "cgroup" || !mount.has_super_option(controller) || tree.v1_of(controller) != nullptr) continue;
      if (auto parent = make_parent(mount.point); !parent.empty()) {
        tree.v1_.push_back({std::string{controller}, std::move(parent)});
      }
    }
  }
  if (!tree.has_v2() && tree.v1_.empty()) tree.unavailable_ = reason;
  return tree;
}

const CgroupTree::Mount* CgroupTree::v1_of(std::string_view controller) const {
  const auto found = std::ranges::find(v1_, controller, &Mount::controller);
  return found == v1_.end() ? nullptr : &*found;
}

Result<void> CgroupTree::can_limit(const CgroupLimits& limits) const {
  if (!is_available() && !limits.empty()) return fail(ErrorKind::unavailable, "resource_limit: " + unavailable_);
  const auto has = [&](std::string_view controller) {
    return v1_of(controller) != nullptr || std::ranges::find(v2_controllers_, controller) != v2_controllers_.end();
  };
  if (limits.memory_mb > 0 && !has("memory")) return no_controller("memory_mb", "memory");
  if (limits.memory_virt_mb > 0 && !has("memory")) return no_controller("memory_virt_mb", "memory");
  if (limits.cpu_shares > 0 && !has("cpu")) return no_controller("cpu_shares", "cpu");
  if (limits.pids > 0 && !has("pids")) return no_controller("pids", "pids");
  return {};
}

Result<Cgroup> CgroupTree::create(const std::string& name, CgroupKind kind) const {
  if (!is_available()) return fail(ErrorKind::unavailable, "cgroup: " + unavailable_);
  if (!is_name(name)) return fail(ErrorKind::invalid_argument, "not a name for a cgroup: " + name);
  std::vector<fs::path> made;
  const auto undo = [&](std::unexpected<Error> error) -> Result<Cgroup> {
    for (const auto& path : made) ::rmdir(path.c_str());
    return error;
  };
  const auto make = [&](const fs::path& path) {
    if (::mkdir(path.c_str(), 0755) != 0) return false;
    made.push_back(path);
    return true;
  };
  if (has_v2() && !make(v2_ / name)) return undo(file_error("make cgroup", v2_ / name, errno));
  if (kind == CgroupKind::limited || !has_v2()) {
    for (const auto& mount : v1_) {
      // Controllers mounted together ("cpu,memory") share one directory, which is made once.
      const fs::path path = mount.parent / name;
      if (std::ranges::find(made, path) != made.end()) continue;
      if (!make(path)) return undo(file_error("make cgroup", path, errno));
    }
  }
  auto cgroup = open_existing(name);
  if (!cgroup) return undo(std::unexpected(cgroup.error()));
  return cgroup;
}

// The parent itself, and the one of an older daemon.
std::vector<fs::path> CgroupTree::beside(const fs::path& parent) const {
  std::vector<fs::path> parents{parent};
  if (!older_parent_.empty()) parents.push_back(parent.parent_path() / older_parent_);
  return parents;
}

Result<Cgroup> CgroupTree::open_existing(const std::string& name) const {
  if (!is_available()) return fail(ErrorKind::unavailable, "cgroup: " + unavailable_);
  if (!is_name(name)) return fail(ErrorKind::invalid_argument, "not a name for a cgroup: " + name);
  Cgroup cgroup;
  cgroup.name_ = name;
  if (has_v2()) {
    Error missing;
    for (const auto& parent : beside(v2_)) {
      auto fd = open_directory(parent / name);
      if (fd) {
        cgroup.v2_path_ = parent / name;
        cgroup.v2_ = std::move(*fd);
        break;
      }
      if (missing.message.empty()) missing = fd.error();
    }
    if (!cgroup.v2_) return std::unexpected(std::move(missing));
  }
  for (const auto& mount : v1_) {
    for (const auto& parent : beside(mount.parent)) {
      if (!is_there(parent / name)) continue;
      cgroup.v1_.push_back({mount.controller, parent / name});
      break;
    }
  }
  if (!has_v2() && cgroup.v1_.empty()) return fail(ErrorKind::not_found, "no such cgroup " + name);
  return cgroup;
}

Result<std::vector<std::string>> CgroupTree::names() const {
  std::set<std::string> names;
  std::vector<fs::path> parents;
  if (has_v2()) parents.push_back(v2_);
  for (const auto& mount : v1_) parents.push_back(mount.parent);
  for (const auto& parent : parents) {
    const auto children = child_directories(parent);
    if (!children) return std::unexpected(children.error());
    for (const auto& child : *children) names.insert(child.filename().string());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

Result<void> CgroupTree::remove(const std::string& name) const {
  if (!is_name(name)) return fail(ErrorKind::invalid_argument, "not a name for a cgroup: " + name);
  Result<void> result;
  const auto remove_below = [&](const fs::path& mount_parent) {
    for (const auto& parent : beside(mount_parent)) {
      if (auto done = remove_tree(parent / name, 0); !done && result) result = std::move(done);
    }
  };
  if (has_v2()) remove_below(v2_);
  for (const auto& mount : v1_) remove_below(mount.parent);
  return result;
}

void CgroupTree::remove_empty_parent() const {
  // rmdir refuses by itself while there is anything inside.
  if (has_v2()) ::rmdir(v2_.c_str());
  for (const auto& mount : v1_) ::rmdir(mount.parent.c_str());
}

// ---- CgroupPool

Result<Cgroup> CgroupPool::take() {
  while (!free_.empty()) {
    Cgroup cgroup = std::move(free_.back());
    free_.pop_back();
    if (!cgroup.exists()) continue;
    lent_.insert(cgroup.name());
    return cgroup;
  }
  auto made = tree_.create("p-" + random_hex(8), CgroupKind::plain);
  if (made) lent_.insert(made->name());
  return made;
}

Result<void> CgroupPool::give_back(Cgroup cgroup, Fate fate) {
  const auto populated = cgroup.is_populated();
  if (!populated) {
    lent_.erase(cgroup.name());
    return populated.error().kind == ErrorKind::not_found ? Result<void>{} : std::unexpected(populated.error());
  }
  if (*populated) return fail(ErrorKind::conflict, "cgroup " + cgroup.name() + " still has processes");
  struct stat info{};
  const bool has_children = ::fstat(cgroup.directory_fd(), &info) != 0 || info.st_nlink != 2;
  const bool is_clean = lent_.erase(cgroup.name()) > 0 && fate == Fate::untouched;
  if (is_clean && cgroup.v2_only() && !has_children && free_.size() < capacity_) {
    free_.push_back(std::move(cgroup));
    return {};
  }
  const std::string name = cgroup.name();
  return tree_.remove(name);
}

void CgroupPool::clear() {
  for (const auto& cgroup : free_) (void)tree_.remove(cgroup.name());
  free_.clear();
}

}  // namespace appmesh::platform

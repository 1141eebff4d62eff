#include "platform/process.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <unordered_map>

#include <sys/stat.h>
#include <sys/syscall.h>

#include "platform/file.h"

namespace appmesh::platform {
namespace {

constexpr std::uint64_t kMaxStatBytes = 8192;
constexpr std::uint64_t kMaxEnvironBytes = 8U << 20U;
constexpr std::size_t kMaxCommandLineBytes = 4096;
constexpr std::uint64_t kMaxChildrenBytes = 1U << 20U;
constexpr std::size_t kMaxThreads = 100'000;
constexpr std::size_t kMaxProcesses = 4U << 20U;         // the kernel's own PID_MAX_LIMIT
constexpr std::uint64_t kKernelThreadFlag = 0x00200000;  // PF_KTHREAD

template <typename Number>
bool parse_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(" \t\n", at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(" \t\n", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

Error gone(pid_t pid) {
  return {ErrorKind::not_found, "no such process " + std::to_string(pid), {}};
}

// A process that dies while it is read answers ESRCH from read(2), which is the same news as a missing directory.
template <typename T>
Result<T> or_gone(Result<T> result, const std::filesystem::path& directory, pid_t pid) {
  if (!result && result.error().kind == ErrorKind::internal && !std::filesystem::exists(directory)) {
    return std::unexpected(gone(pid));
  }
  return result;
}

Result<ProcessStat> parse_stat(std::string_view text) {
  const auto broken = [] { return fail(ErrorKind::internal, "cannot read a process's stat file"); };
  // The name stands in parentheses and may hold parentheses and spaces itself: the last ')' ends it.
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open || open == 0) return broken();
  ProcessStat stat;
  if (!parse_number(text.substr(0, open - 1), stat.pid)) return broken();
  stat.name = text.substr(open + 1, close - open - 1);
  const auto words = split_words(text.substr(close + 1));  // words[0] is field 3 of proc(5)
  if (words.size() < 22) return broken();
  stat.state = words[0].front();
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  std::uint64_t flags = 0;
  std::int64_t rss_pages = 0;
  if (!parse_number(words[1], stat.ppid) || !parse_number(words[2], stat.process_group) ||
      !parse_number(words[3], stat.session) || !parse_number(words[6], flags) || !parse_number(words[11], user) ||
      !parse_number(words[12], system) || !parse_number(words[17], stat.threads) ||
      !parse_number(words[19], stat.start_ticks) || !parse_number(words[21], rss_pages)) {
    return broken();
  }
  stat.cpu_ticks = user + system;
  stat.kernel_thread = (flags & kKernelThreadFlag) != 0;
  stat.rss_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(rss_pages, 0)) *
                   static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return stat;
}

}  // namespace

std::uint64_t ticks_per_second() {
  static const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return ticks;
}

std::filesystem::path ProcFs::of(pid_t pid, std::string_view file) const {
  return file.empty() ? root_ / std::to_string(pid) : root_ / std::to_string(pid) / file;
}

Result<ProcessStat> ProcFs::stat(pid_t pid) const {
  auto text = or_gone(read_file(of(pid, "stat"), kMaxStatBytes), of(pid, ""), pid);
  if (!text) return std::unexpected(text.error().kind == ErrorKind::not_found ? gone(pid) : text.error());
  auto stat = parse_stat(*text);
  if (!stat) return stat;
  // statm counts exactly; the rss of stat lags behind on kernels with per-CPU counters, see proc(5).
  if (auto statm = read_file(of(pid, "statm"), kMaxStatBytes)) {
    const auto words = split_words(*statm);
    std::uint64_t pages = 0;
    if (words.size() > 1 && parse_number(words[1], pages)) {
      stat->rss_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    }
  }
  return stat;
}

Result<uid_t> ProcFs::effective_uid(pid_t pid) const {
  struct ::stat info{};
  if (::stat(of(pid, "").c_str(), &info) != 0) {
    return errno == ENOENT ? std::unexpected(gone(pid)) : file_error("stat", of(pid, ""), errno);
  }
  return info.st_uid;
}

Result<std::uint64_t> ProcFs::open_descriptors(pid_t pid) const {
  const auto directory = of(pid, "fd");
  struct ::stat info{};
  if (::stat(directory.c_str(), &info) != 0) {
    return errno == ENOENT ? std::unexpected(gone(pid)) : file_error("stat", directory, errno);
  }
  // Linux 6.2 and later say the count as the directory's size, which costs no walk.
  if (info.st_size > 0 && root_ == "/proc") return static_cast<std::uint64_t>(info.st_size);
  auto opened = open_directory(directory);
  if (!opened) return std::unexpected(opened.error());
  auto names = list_directory(opened->get(), 1U << 20U);
  if (!names) return std::unexpected(names.error());
  return names->size();
}

Result<std::string> ProcFs::command_line(pid_t pid) const {
  auto text = or_gone(read_file(of(pid, "cmdline"), kMaxEnvironBytes), of(pid, ""), pid);
  if (!text) return text;
  if (text->size() > kMaxCommandLineBytes) text->resize(kMaxCommandLineBytes);
  while (!text->empty() && text->back() == '\0') text->pop_back();
  std::ranges::replace(*text, '\0', ' ');
  return text;
}

Result<std::optional<std::string>> ProcFs::environment_variable(pid_t pid, std::string_view name) const {
  const auto text = or_gone(read_file(of(pid, "environ"), kMaxEnvironBytes), of(pid, ""), pid);
  if (!text) return std::unexpected(text.error());
  std::string_view rest = *text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    const std::string_view entry = rest.substr(0, end);
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return std::string{entry.substr(name.size() + 1)};
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::nullopt;
}

Result<std::vector<ProcessStat>> ProcFs::list_processes() const {
  auto directory = open_directory(root_);
  if (!directory) return std::unexpected(directory.error());
  auto names = list_directory(directory->get(), kMaxProcesses);
  if (!names) return std::unexpected(names.error());
  std::vector<ProcessStat> processes;
  for (const auto& name : *names) {
    pid_t pid = 0;
    if (!parse_number(std::string_view{name}, pid)) continue;
    auto text = read_file_at(directory->get(), name + "/stat", kMaxStatBytes);
    if (!text) continue;
    if (auto stat = parse_stat(*text)) processes.push_back(std::move(*stat));
  }
  return processes;
}

Result<std::string> ProcFs::tree_text(pid_t pid, std::size_t max_lines) const {
  auto root = stat(pid);
  if (!root) return std::unexpected(root.error());
  std::vector<ProcessStat> tree{std::move(*root)};
  // Kernels built without this file (CONFIG_PROC_CHILDREN) cost a walk over all processes.
  if (!read_file(of(pid, "task") / std::to_string(pid) / "children", kMaxChildrenBytes)) {
    auto all = list_processes();
    if (!all) return std::unexpected(all.error());
    return tree_text(pid, *all, max_lines);
  }
  // One more than is shown, so that the text says that there are more.
  for (std::size_t next = 0; next < tree.size() && tree.size() <= max_lines; ++next) {
    for (const pid_t child : children(tree[next].pid)) {
      if (auto process = stat(child)) tree.push_back(std::move(*process));
      if (tree.size() > max_lines) break;
    }
  }
  return tree_text(pid, tree, max_lines);
}

std::vector<pid_t> ProcFs::children(pid_t pid) const {
  std::vector<pid_t> found;
  const auto tasks = open_directory(of(pid, "task"));
  if (!tasks) return found;
  const auto threads = list_directory(tasks->get(), kMaxThreads);
  if (!threads) return found;
  for (const auto& thread : *threads) {
    const auto text = read_file(of(pid, "task") / thread / "children", kMaxChildrenBytes);
    if (!text) continue;
    const char* at = text->data();
    const char* const end = at + text->size();
    while (at < end) {
      pid_t child = 0;
      const auto [rest, error] = std::from_chars(at, end, child);
      if (error != std::errc{}) break;
      found.push_back(child);
      at = rest < end ? rest + 1 : rest;
    }
  }
  return found;
}

Result<std::string> ProcFs::tree_text(pid_t pid, const std::vector<ProcessStat>& all, std::size_t max_lines) {
  std::unordered_multimap<pid_t, const ProcessStat*> children;
  const ProcessStat* root = nullptr;
  for (const auto& process : all) {
    if (process.pid == pid) root = &process;
    children.emplace(process.ppid, &process);
  }
  if (root == nullptr) return std::unexpected(gone(pid));

  struct Item {
    const ProcessStat* process;
    std::size_t depth;
  };
  std::vector<Item> open{{root, 0}};
  std::string text;
  std::size_t lines = 0;
  std::size_t left_out = 0;
  // A list is no snapshot, so pids may seem to form a cycle: no more items than processes are ever visited.
  for (std::size_t visited = 0; !open.empty() && visited < all.size(); ++visited) {
    const auto [process, depth] = open.back();
    open.pop_back();
    if (lines < max_lines) {
      text.append(depth * 2, ' ').append(std::to_string(process->pid)).append(" ").append(process->name).append("\n");
      ++lines;
    } else {
      ++left_out;
    }
    const auto [first, last] = children.equal_range(process->pid);
    std::vector<const ProcessStat*> sorted;
    for (auto child = first; child != last; ++child) sorted.push_back(child->second);
    std::ranges::sort(sorted, std::greater{}, &ProcessStat::pid);  // the stack turns the order round
    for (const auto* child : sorted) open.push_back({child, depth + 1});
  }
  if (left_out > 0) text += "… " + std::to_string(left_out) + " more\n";
  return text;
}

Result<std::string> ProcFs::boot_id() const {
  auto text = read_file(root_ / "sys/kernel/random/boot_id", 256);
  if (text) text->erase(text->find_last_not_of("\n ") + 1);
  return text;
}

Result<core::WallTime> ProcFs::boot_time() const {
  const auto text = read_file(root_ / "stat", 16U << 20U);
  if (!text) return std::unexpected(text.error());
  const std::size_t at = text->find("\nbtime ");
  std::int64_t seconds = 0;
  if (at != std::string::npos) {
    const std::size_t from = at + 7;
    const std::size_t end = std::min(text->find('\n', from), text->size());
    if (parse_number(std::string_view{*text}.substr(from, end - from), seconds)) {
      return core::WallTime{std::chrono::seconds{seconds}};
    }
  }
  return fail(ErrorKind::internal, "no btime in " + (root_ / "stat").string());
}

Result<UniqueFd> pidfd_open(pid_t pid) {
  // The kernel makes it close-on-exec, see pidfd_open(2).
  UniqueFd fd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (fd) return fd;
  if (errno == ESRCH) return std::unexpected(gone(pid));
  return fail_errno(ErrorKind::internal, "pidfd_open", errno);
}

Result<void> pidfd_send_signal(int pidfd, int signal_number) {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal_number, nullptr, 0) == 0) return {};
  if (errno == ESRCH) return fail(ErrorKind::not_found, "the process is gone");
  const ErrorKind kind = errno == EPERM ? ErrorKind::permission_denied : ErrorKind::internal;
  return fail_errno(kind, "pidfd_send_signal", errno);
}

Result<UniqueFd> pidfd_open_checked(const ProcFs& proc, pid_t pid, std::uint64_t start_ticks) {
  auto fd = pidfd_open(pid);
  if (!fd) return fd;
  // Read after the descriptor is held: if the start time fits now, the descriptor is that process's.
  const auto stat = proc.stat(pid);
  if (!stat) return std::unexpected(stat.error());
  if (stat->start_ticks != start_ticks) return std::unexpected(gone(pid));
  return fd;
}

}  // namespace appmesh::platform

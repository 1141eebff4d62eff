#include "platform/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <span>

#include <sys/stat.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "platform/file.h"
#include "platform/process_table.h"

namespace appmesh::platform {
namespace {

constexpr std::size_t kMaxStatBytes = 4096;
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

// How many words there are, but no more than there is room for.
std::size_t split_words(std::string_view text, std::span<std::string_view> words) {
  std::size_t count = 0;
  for (std::size_t at = 0; count < words.size(); ++count) {
    at = text.find_first_not_of(" \t\n", at);
    if (at == std::string_view::npos) break;
    const std::size_t end = std::min(text.find_first_of(" \t\n", at), text.size());
    words[count] = text.substr(at, end - at);
    at = end;
  }
  return count;
}

// A file of /proc that is far shorter than the buffer: the kernel gives it whole in one read. Negative: errno.
std::int64_t read_short(const std::string& path, std::span<char> buffer) {
  const UniqueFd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return -errno;
  ssize_t got = 0;
  do {
    got = ::read(fd.get(), buffer.data(), buffer.size());
  } while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got;
}

std::uint64_t page_bytes() {
  static const auto bytes = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

Error gone(pid_t pid) {
  return {ErrorKind::not_found, "no such process " + std::to_string(pid), {}};
}

// A process that dies while it is read answers ESRCH from read(2), which is the same news as a missing directory.
template <typename T>
Result<T> or_gone(Result<T> result, const std::string& directory, pid_t pid) {
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
  std::array<std::string_view, 22> words;  // words[0] is field 3 of proc(5)
  if (split_words(text.substr(close + 1), words) < words.size()) return broken();
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
  stat.rss_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(rss_pages, 0)) * page_bytes();
  return stat;
}

}  // namespace

std::uint64_t ticks_per_second() {
  static const auto ticks = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return ticks;
}

std::string ProcFs::of(pid_t pid, std::string_view file) const {
  return fmt::format("{}/{}{}{}", root_.native(), pid, file.empty() ? "" : "/", file);
}

Result<ProcessStat> ProcFs::stat_file(pid_t pid) const {
  std::array<char, kMaxStatBytes> buffer{};
  const std::string path = of(pid, "stat");
  const std::int64_t got = read_short(path, buffer);
  if (got == -ENOENT || got == -ESRCH) return std::unexpected(gone(pid));
  if (got < 0) return file_error("read", path, static_cast<int>(-got));
  return parse_stat({buffer.data(), static_cast<std::size_t>(got)});
}

Result<ProcessStat> ProcFs::stat(pid_t pid) const {
  auto stat = stat_file(pid);
  if (!stat) return stat;
  if (const auto exact = resident_bytes(pid)) stat->rss_bytes = *exact;
  return stat;
}

Result<std::uint64_t> ProcFs::resident_bytes(pid_t pid) const {
  std::array<char, 256> buffer{};
  const std::string path = of(pid, "statm");
  const std::int64_t got = read_short(path, buffer);
  if (got == -ENOENT || got == -ESRCH) return std::unexpected(gone(pid));
  if (got < 0) return file_error("read", path, static_cast<int>(-got));
  std::array<std::string_view, 2> words;
  std::uint64_t pages = 0;
  if (split_words({buffer.data(), static_cast<std::size_t>(got)}, words) < words.size() ||
      !parse_number(words[1], pages))
    return fail(ErrorKind::internal, "cannot read a process's statm file");
  return pages * page_bytes();
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

Result<std::optional<std::string>> ProcFs::environment_variable(pid_t pid,
                                                                std::initializer_list<std::string_view> names) const {
  const auto text = or_gone(read_file(of(pid, "environ"), kMaxEnvironBytes), of(pid, ""), pid);
  if (!text) return std::unexpected(text.error());
  for (const std::string_view name : names) {
    std::string_view rest = *text;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find('\0'), rest.size());
      const std::string_view entry = rest.substr(0, end);
      if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
        return std::string{entry.substr(name.size() + 1)};
      }
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return std::nullopt;
}

Result<std::vector<ProcessStat>> ProcFs::list_processes() const {
  auto directory = open_directory(root_);
  if (!directory) return std::unexpected(directory.error());
  auto names = list_directory(directory->get(), kMaxProcesses);
  if (!names) return std::unexpected(names.error());
  std::vector<ProcessStat> processes;
  processes.reserve(names->size());
  for (const auto& name : *names) {
    pid_t pid = 0;
    if (!parse_number(std::string_view{name}, pid)) continue;
    if (auto stat = stat_file(pid)) processes.push_back(std::move(*stat));
  }
  return processes;
}

std::size_t ProcFs::process_count() const {
  struct ::stat info{};
  // The links of a directory count its subdirectories, and /proc has one for each process.
  return ::stat(root_.c_str(), &info) == 0 ? info.st_nlink : 0;
}

Result<std::string> ProcFs::tree_text(pid_t pid, std::size_t max_lines) const {
  auto root = stat_file(pid);
  if (!root) return std::unexpected(root.error());
  std::vector<ProcessStat> tree{std::move(*root)};
  // Kernels built without this file (CONFIG_PROC_CHILDREN) cost a walk over all processes.
  if (!read_file(of(pid, fmt::format("task/{}/children", pid)), kMaxChildrenBytes)) {
    auto all = list_processes();
    if (!all) return std::unexpected(all.error());
    return ProcessTable(std::move(*all)).tree_text(pid, max_lines);
  }
  // One more than is shown, so that the text says that there are more.
  for (std::size_t next = 0; next < tree.size() && tree.size() <= max_lines; ++next) {
    for (const pid_t child : children(tree[next].pid)) {
      if (auto process = stat_file(child)) tree.push_back(std::move(*process));
      if (tree.size() > max_lines) break;
    }
  }
  return ProcessTable(std::move(tree)).tree_text(pid, max_lines);
}

std::vector<pid_t> ProcFs::children(pid_t pid) const {
  std::vector<pid_t> found;
  const auto tasks = open_directory(of(pid, "task"));
  if (!tasks) return found;
  const auto threads = list_directory(tasks->get(), kMaxThreads);
  if (!threads) return found;
  for (const auto& thread : *threads) {
    const auto text = read_file(of(pid, fmt::format("task/{}/children", thread)), kMaxChildrenBytes);
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

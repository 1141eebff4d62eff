#include "telemetry/host_resources.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <boost/json/array.hpp>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include "core/version.h"
#include "platform/file.h"
#include "platform/process.h"
#include "platform/user.h"
#include "telemetry/cgroup_limits.h"

namespace appmesh::telemetry {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

// A machine may have any number of these; the answer stays small.
constexpr std::size_t kMaxAddresses = 256;
constexpr std::size_t kMaxFileSystems = 128;
constexpr std::uint64_t kMaxProcFile = 4UL * 1024 * 1024;

class Collector {
 public:
  Collector(const HostResources::Options& options, json::object& out) : options_(options), out_(out) {}

  void identity() {
    utsname name{};
    ::uname(&name);
    out_["schema_version"] = 3;
    out_["collected_at_unix_seconds"] = static_cast<std::int64_t>(std::time(nullptr));
    out_["in_container"] = in_container();
    out_["appmesh_version"] = kVersion;
    out_["os"] = std::string(name.sysname) + " " + name.release;
    out_["architecture"] = name.machine;
    out_["host_name"] = name.nodename;
    out_["host_description"] = options_.description ? options_.description() : std::string();
    out_["os_user"] = platform::current_user_name();
    out_["pid"] = static_cast<std::int64_t>(::getpid());
    out_["home"] = options_.home.string();
    const auto start = core::epoch_seconds(options_.start_time);
    out_["systime"] = local_iso(std::time(nullptr));
    out_["appmesh_start_time"] = local_iso(static_cast<std::time_t>(start));
    out_["appmesh_start_time_unix_seconds"] = start;
  }

  void processors(const CgroupUsage& cgroup) {
    const auto text = read("cpuinfo");
    std::set<std::string, std::less<>> sockets;
    std::set<std::pair<std::string, std::string>> cores;
    std::int64_t processors = 0;
    std::string socket;
    for_each_line(text, [&](std::string_view line) {
      if (line.starts_with("processor")) ++processors;
      if (line.starts_with("physical id")) {
        socket = std::string(after_colon(line));
        sockets.insert(socket);
      }
      if (line.starts_with("core id")) cores.emplace(socket, std::string(after_colon(line)));
    });
    if (processors == 0) processors = std::max<std::int64_t>(1, ::sysconf(_SC_NPROCESSORS_ONLN));
    // Some architectures and containers name neither cores nor sockets.
    out_["cpu_cores"] = cores.empty() ? processors : static_cast<std::int64_t>(cores.size());
    out_["cpu_sockets"] = sockets.empty() ? std::int64_t{1} : static_cast<std::int64_t>(sockets.size());
    out_["cpu_processors"] = processors;

    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    auto effective = static_cast<double>(processors);
    if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
      effective = std::min(effective, static_cast<double>(CPU_COUNT(&allowed)));
    }
    const bool limited = cgroup.cpu_quota_cores && *cgroup.cpu_quota_cores < effective;
    if (limited) effective = *cgroup.cpu_quota_cores;
    out_["cpu_effective_processors"] = effective;
    out_["cpu_quota_cores"] = cgroup.cpu_quota_cores.value_or(0.0);
    out_["cpu_source"] = limited ? "cgroup" : "host";
  }

  void memory(const CgroupUsage& cgroup) {
    std::map<std::string, std::uint64_t, std::less<>> host;
    for_each_line(read("meminfo"), [&](std::string_view line) {
      const auto colon = line.find(':');
      if (colon == std::string_view::npos) return;
      host.emplace(line.substr(0, colon), number(after_colon(line)) * 1024);  // "kB" is KiB
    });
    const auto of = [&](std::string_view name) {
      const auto found = host.find(name);
      return found == host.end() ? std::uint64_t{0} : found->second;
    };
    auto total = of("MemTotal");
    auto available = of("MemAvailable");
    auto current = total - std::min(total, available);
    const bool limited = cgroup.memory_limit_bytes && *cgroup.memory_limit_bytes < total;
    if (limited) {
      total = *cgroup.memory_limit_bytes;
      current = cgroup.memory_current_bytes.value_or(current);
      available = std::min(available, total - std::min(total, current));
    }
    out_["memory_source"] = limited ? "cgroup" : "host";
    out_["mem_total_bytes"] = total;
    out_["mem_available_bytes"] = available;
    out_["mem_current_bytes"] = current;

    auto swap_total = of("SwapTotal");
    auto swap_free = of("SwapFree");
    auto swap_current = swap_total - std::min(swap_total, swap_free);
    const bool swap_limited = cgroup.swap_limit_bytes && *cgroup.swap_limit_bytes < swap_total;
    if (swap_limited) {
      swap_total = *cgroup.swap_limit_bytes;
      swap_current = cgroup.swap_current_bytes.value_or(std::min(swap_current, swap_total));
      swap_free = std::min(swap_free, swap_total - std::min(swap_total, swap_current));
    }
    out_["swap_source"] = swap_limited ? "cgroup" : "host";
    out_["mem_swap_total_bytes"] = swap_total;
    out_["mem_swap_free_bytes"] = swap_free;
    out_["mem_swap_current_bytes"] = swap_current;
    out_["cgroup_version"] = cgroup.version;
  }

  // The daemon and the keeper are the daemon's tree; what the keeper started are the applications.
  void process_trees() {
    const platform::ProcFs proc(options_.proc);
    const auto all = proc.list_processes();
    std::uint64_t daemon_bytes = 0;
    std::uint64_t application_bytes = 0;
    if (!all) {
      error("processes", all.error().message);
    } else {
      const pid_t keeper = options_.keeper_pid ? options_.keeper_pid() : 0;
      std::unordered_multimap<pid_t, const platform::ProcessStat*> children;
      for (const auto& process : *all) children.emplace(process.ppid, &process);
      for (const auto& process : *all) {
        if (process.pid == ::getpid() || (keeper > 0 && process.pid == keeper)) daemon_bytes += process.rss_bytes;
      }
      application_bytes = descendants(children, keeper, 0);
      daemon_bytes += descendants(children, ::getpid(), keeper);
    }
    out_["mem_daemon_process_tree_bytes"] = daemon_bytes;
    out_["mem_applications"] = application_bytes;
    const auto open = proc.open_descriptors(::getpid());
    if (!open) error("fd", open.error().message);
    out_["fd"] = open.value_or(0);
  }

  void load() {
    const auto text = read("loadavg");
    double values[3] = {0, 0, 0};
    const char* at = text.data();
    const char* end = text.data() + text.size();
    for (auto& value : values) {
      const auto parsed = std::from_chars(at, end, value);
      if (parsed.ec != std::errc{}) break;
      at = std::min(parsed.ptr + 1, end);
    }
    out_["load"] = {{"1min", values[0]}, {"5min", values[1]}, {"15min", values[2]}};
  }

  void networks() {
    json::array list;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) {
      error("net", "getifaddrs failed");
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(first, &::freeifaddrs);
    for (const auto* at = first; at != nullptr && list.size() < kMaxAddresses; at = at->ifa_next) {
      if (at->ifa_addr == nullptr) continue;
      const int family = at->ifa_addr->sa_family;
      char text[INET6_ADDRSTRLEN] = {};
      if (family == AF_INET) {
        ::inet_ntop(family, &reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr, text, sizeof text);
      } else if (family == AF_INET6) {
        ::inet_ntop(family, &reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr, text, sizeof text);
      } else {
        continue;
      }
      list.push_back({{"name", at->ifa_name}, {"ipv6", family == AF_INET6}, {"address", text}});
    }
    out_["net"] = std::move(list);
  }

  // Local file systems only: statvfs on a dead network mount would hang the worker for good.
  void file_systems() {
    static const std::set<std::string, std::less<>> kLocal = {"ext2", "ext3",  "ext4",     "xfs",     "btrfs",
                                                              "f2fs", "zfs",   "overlay",  "vfat",    "exfat",
                                                              "ntfs", "ntfs3", "bcachefs", "reiserfs"};
    json::array list;
    std::set<std::string, std::less<>> seen;  // devices: a bind mount is the same space once more
    for_each_line(read("self/mounts"), [&](std::string_view line) {
      const auto fields = split(line);
      if (fields.size() < 3 || !kLocal.contains(fields[2]) || list.size() >= kMaxFileSystems) return;
      const auto device = unescape(fields[0]);
      const auto point = unescape(fields[1]);
      std::error_code ignored;
      if (seen.contains(device) || !fs::is_directory(point, ignored)) return;
      struct statvfs space{};
      if (::statvfs(point.c_str(), &space) != 0 || space.f_blocks == 0) return;
      seen.insert(device);
      const auto unit = static_cast<std::uint64_t>(space.f_frsize);
      const auto size = space.f_blocks * unit;
      const auto used = (space.f_blocks - space.f_bfree) * unit;
      const auto available = space.f_bavail * unit;
      // As df(1) counts: root's reserve is neither used nor available.
      const auto usage =
          used + available == 0 ? 0.0 : static_cast<double>(used) / static_cast<double>(used + available);
      list.push_back({{"size", size},
                      {"used", used},
                      {"available", available},
                      {"usage", usage},
                      {"device", device},
                      {"mount_point", point}});
    });
    out_["fs"] = std::move(list);
  }

  void finish() { out_["collector_errors"] = std::move(errors_); }

 private:
  void error(std::string_view what, std::string_view why) {
    errors_.push_back({{"collector", what}, {"message", why}});
  }

  std::string read(std::string_view file) {
    auto text = platform::read_file(options_.proc / file, kMaxProcFile);
    if (text) return std::move(*text);
    error(file, text.error().message);
    return {};
  }

  template <typename F>
  static void for_each_line(std::string_view text, F f) {
    while (!text.empty()) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      f(line);
    }
  }

  static std::string_view after_colon(std::string_view line) {
    line.remove_prefix(std::min(line.size(), line.find(':') + 1));
    while (line.starts_with(' ') || line.starts_with('\t')) line.remove_prefix(1);
    return line;
  }

  static std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

  static std::vector<std::string> split(std::string_view line) {
    std::vector<std::string> fields;
    while (!line.empty()) {
      const auto field = line.substr(0, line.find(' '));
      line.remove_prefix(std::min(line.size(), field.size() + 1));
      if (!field.empty()) fields.emplace_back(field);
    }
    return fields;
  }

  // Spaces and the like are written \040 in the mount table, see getmntent(3).
  static std::string unescape(std::string_view text) {
    std::string plain;
    const auto digit = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '7'; };
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
        plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
        i += 3;
      } else {
        plain += text[i];
      }
    }
    return plain;
  }

  // Memory of everything below `root`, but for the process `except` and what is below that.
  static std::uint64_t descendants(const std::unordered_multimap<pid_t, const platform::ProcessStat*>& children,
                                   pid_t root, pid_t except) {
    if (root <= 0) return 0;
    std::uint64_t bytes = 0;
    std::unordered_set<pid_t> seen{root};  // the list is no snapshot: a recycled pid could close a ring
    std::vector<pid_t> waiting{root};
    while (!waiting.empty()) {
      const pid_t pid = waiting.back();
      waiting.pop_back();
      const auto [first, last] = children.equal_range(pid);
      for (auto child = first; child != last; ++child) {
        if (child->second->pid == except || !seen.insert(child->second->pid).second) continue;
        bytes += child->second->rss_bytes;
        waiting.push_back(child->second->pid);
      }
    }
    return bytes;
  }

  [[nodiscard]] bool in_container() const {
    std::error_code ignored;
    if (fs::exists("/.dockerenv", ignored) || fs::exists("/run/.containerenv", ignored)) return true;
    const platform::ProcFs proc(options_.proc);
    const auto variable = proc.environment_variable(1, {"container"});
    return variable && variable->has_value();
  }

  static std::string local_iso(std::time_t when) {
    std::tm local{};
    ::localtime_r(&when, &local);
    char text[40];
    const auto length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local);
    std::string iso(text, length);
    if (iso.size() > 2) iso.insert(iso.size() - 2, ":");
    return iso;
  }

  const HostResources::Options& options_;
  json::object& out_;
  json::array errors_;
};

}  // namespace

json::object HostResources::collect() const {
  json::object out;
  Collector collector(options_, out);
  const auto cgroup = read_cgroup_usage(options_.proc / "self/cgroup", options_.proc / "self/mountinfo", fs::path("/"));
  collector.identity();
  collector.networks();
  collector.processors(cgroup);
  collector.memory(cgroup);
  collector.process_trees();
  collector.load();
  collector.file_systems();
  collector.finish();
  return out;
}

}  // namespace appmesh::telemetry

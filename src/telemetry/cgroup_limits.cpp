#include "telemetry/cgroup_limits.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <string_view>

#include "platform/file.h"
#include "platform/mount_info.h"

namespace appmesh::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSmallFile = 64UL * 1024;
constexpr int kMaxLevels = 32;
// v1 writes "no limit" as the largest multiple of a page.
constexpr std::uint64_t kUnlimited = 1ULL << 60;

std::string read_text(const fs::path& file) {
  auto text = platform::read_file(file, kSmallFile);
  if (!text) return {};
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return std::move(*text);
}

std::optional<std::uint64_t> read_number(const fs::path& file) {
  const auto text = read_text(file);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data() || number >= kUnlimited) return std::nullopt;
  return number;
}

// Controller -> path of our cgroup; "" is v2. Lines are "id:controllers:/path", see cgroups(7).
std::map<std::string, std::string, std::less<>> own_cgroups(const fs::path& cgroup_file) {
  std::map<std::string, std::string, std::less<>> paths;
  const auto text = read_text(cgroup_file);
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    auto controllers = line.substr(first + 1, second - first - 1);
    const std::string path(line.substr(second + 1));
    if (controllers.empty()) paths.emplace("", path);
    while (!controllers.empty()) {
      const auto one = controllers.substr(0, controllers.find(','));
      controllers.remove_prefix(std::min(controllers.size(), one.size() + 1));
      paths.emplace(std::string(one), path);
    }
  }
  return paths;
}

// Our cgroup's directory and its ancestors up to the mount point. In a container the path may lie outside of what is
// mounted; then the mount point itself is ours.
std::vector<fs::path> levels(const fs::path& mount_point, const std::string& path) {
  auto at = mount_point / fs::path(path).relative_path();
  std::error_code ignored;
  if (!fs::is_directory(at, ignored)) at = mount_point;
  std::vector<fs::path> found;
  for (int i = 0; i < kMaxLevels; ++i) {
    found.push_back(at);
    if (at == mount_point || !at.has_relative_path()) break;
    at = at.parent_path();
  }
  return found;
}

template <typename Number, typename Read>
std::optional<Number> smallest(const std::vector<fs::path>& directories, Read read) {
  std::optional<Number> least;
  for (const auto& directory : directories) {
    const std::optional<Number> value = read(directory);
    if (value && (!least || *value < *least)) least = value;
  }
  return least;
}

// cpu.max is "quota period" or "max period".
std::optional<double> cpu_max(const fs::path& directory) {
  const auto text = read_text(directory / "cpu.max");
  double quota = 0;
  double period = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quota);
  if (error != std::errc{} || end == text.data() + text.size()) return std::nullopt;
  const auto second = std::from_chars(end + 1, text.data() + text.size(), period);
  if (second.ec != std::errc{} || period <= 0) return std::nullopt;
  return quota / period;
}

std::optional<double> cfs_quota(const fs::path& directory) {
  const auto quota = read_number(directory / "cpu.cfs_quota_us");  // "-1" is no number here: no limit
  const auto period = read_number(directory / "cpu.cfs_period_us");
  if (!quota || !period || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

void read_v2(const fs::path& mount_point, const std::string& path, CgroupUsage& usage) {
  const auto directories = levels(mount_point, path);
  const auto limit = [](const char* name) { return [name](const fs::path& d) { return read_number(d / name); }; };
  usage.memory_limit_bytes = smallest<std::uint64_t>(directories, limit("memory.max"));
  usage.swap_limit_bytes = smallest<std::uint64_t>(directories, limit("memory.swap.max"));
  usage.memory_current_bytes = read_number(directories.front() / "memory.current");
  usage.swap_current_bytes = read_number(directories.front() / "memory.swap.current");
  usage.cpu_quota_cores = smallest<double>(directories, cpu_max);
}

void read_v1_memory(const fs::path& mount_point, const std::string& path, CgroupUsage& usage) {
  const auto directories = levels(mount_point, path);
  const auto limit = [](const char* name) { return [name](const fs::path& d) { return read_number(d / name); }; };
  usage.memory_limit_bytes = smallest<std::uint64_t>(directories, limit("memory.limit_in_bytes"));
  usage.memory_current_bytes = read_number(directories.front() / "memory.usage_in_bytes");
  const auto both = smallest<std::uint64_t>(directories, limit("memory.memsw.limit_in_bytes"));
  if (both && usage.memory_limit_bytes) usage.swap_limit_bytes = *both - std::min(*both, *usage.memory_limit_bytes);
}

}  // namespace

CgroupUsage read_cgroup_usage(const fs::path& cgroup_file, const fs::path& mount_info, const fs::path& root) {
  CgroupUsage usage;
  const auto mounts = platform::read_mount_info(mount_info);
  if (!mounts) return usage;
  const auto own = own_cgroups(cgroup_file);
  const auto path_of = [&](std::string_view controller) -> const std::string* {
    const auto found = own.find(controller);
    return found == own.end() ? nullptr : &found->second;
  };
  for (const auto& mount : *mounts) {
    const auto point = root / mount.point.relative_path();
    if (mount.type == "cgroup2") {
      usage.version = 2;
      if (const auto* path = path_of("")) read_v2(point, *path, usage);
    }
  }
  for (const auto& mount : *mounts) {
    if (mount.type != "cgroup") continue;
    if (usage.version == 0) usage.version = 1;
    const auto point = root / mount.point.relative_path();
    if (const auto* path = path_of("memory"); path && mount.has_super_option("memory"))
      read_v1_memory(point, *path, usage);
    if (const auto* path = path_of("cpu"); path && mount.has_super_option("cpu")) {
      usage.cpu_quota_cores = smallest<double>(levels(point, *path), cfs_quota);
    }
  }
  return usage;
}

}  // namespace appmesh::telemetry

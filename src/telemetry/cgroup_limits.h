// What the daemon's own cgroup leaves of the machine: the smallest memory, swap and CPU limit on the way from its
// cgroup to the root, v2 first, v1 where a controller lives there. Reads files only; any thread that may block. Roots
// are parameters, so tests use a fake tree.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace appmesh::telemetry {

struct CgroupUsage {
  int version = 0;  // 2, 1, or 0: none found
  std::optional<std::uint64_t> memory_limit_bytes;
  std::optional<std::uint64_t> memory_current_bytes;
  std::optional<std::uint64_t> swap_limit_bytes;
  std::optional<std::uint64_t> swap_current_bytes;
  std::optional<double> cpu_quota_cores;
};

// `cgroup_file` is /proc/self/cgroup, `mount_info` is /proc/self/mountinfo; mount points are looked up below `root`.
[[nodiscard]] CgroupUsage read_cgroup_usage(const std::filesystem::path& cgroup_file,
                                            const std::filesystem::path& mount_info, const std::filesystem::path& root);

}  // namespace appmesh::telemetry

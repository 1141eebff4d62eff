#include "platform/cgroup_members.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "platform/file.h"
#include "platform/mount_info.h"

namespace appmesh::platform {

namespace {

constexpr std::uint64_t kCgroupFileBytes = 16384;
constexpr std::uint64_t kProcsFileBytes = 1U << 20U;
constexpr std::string_view kParent = "/appmesh-";
constexpr std::string_view kLimitControllers[] = {"memory", "cpu", "pids"};

// ".../appmesh-<hash>/<name>" and what the run has made below it, cut to the run's own: empty when it is none of ours.
std::string_view own_cgroup(std::string_view path) {
  const auto parent = path.find(kParent);
  if (parent == std::string_view::npos) return {};
  const auto name = path.find('/', parent + 1);
  if (name == std::string_view::npos || name + 1 == path.size()) return {};
  return path.substr(0, path.find('/', name + 1));
}

}  // namespace

CgroupMembers::CgroupMembers(std::filesystem::path proc) : proc_(std::move(proc)) {
  const auto mounts = read_mount_info(proc_ / "self/mountinfo");
  if (!mounts) return;
  for (const auto& mount : *mounts) {
    if (mount.type == "cgroup2" && v2_.empty()) v2_ = mount.point.string();
    if (mount.type != "cgroup") continue;
    for (const auto controller : kLimitControllers)
      if (mount.has_super_option(controller)) v1_.emplace_back(controller, mount.point.string());
  }
}

std::vector<pid_t> CgroupMembers::of(pid_t pid) const {
  std::vector<pid_t> members;
  const auto text = read_file(proc_ / fmt::format("{}/cgroup", pid), kCgroupFileBytes);
  if (!text) return members;
  // "0::/path" of version 2, "4:cpu,cpuacct:/path" of version 1.
  std::string directory;
  std::string_view rest = *text;
  while (!rest.empty() && directory.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const auto own = own_cgroup(line.substr(second + 1));
    if (own.empty()) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty() && !v2_.empty()) directory = fmt::format("{}{}", v2_, own);
    if (!controllers.empty() && v2_.empty())
      for (const auto& [controller, point] : v1_)
        if (controllers == controller) directory = fmt::format("{}{}", point, own);
  }
  if (directory.empty()) return members;
  const auto procs = read_file(directory + "/cgroup.procs", kProcsFileBytes);
  if (!procs) return members;
  const char* at = procs->data();
  const char* const end = at + procs->size();
  while (at < end) {
    pid_t member = 0;
    const auto parsed = std::from_chars(at, end, member);
    if (parsed.ec == std::errc{} && member > 0) members.push_back(member);
    at = std::max(parsed.ptr, at) + 1;
  }
  return members;
}

}  // namespace appmesh::platform

// Who shares the cgroup of a run's process, as the kernel lists them: also those that left its session and lost their
// parents. Looks at no cgroup but those that are made for one run each (cgroup.h), as all others are shared with
// strangers. Immutable; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace appmesh::platform {

class CgroupMembers {
 public:
  explicit CgroupMembers(std::filesystem::path proc = "/proc");

  // Empty: the process is in no cgroup of its own run, or gone.
  [[nodiscard]] std::vector<pid_t> of(pid_t pid) const;

 private:
  std::filesystem::path proc_;
  std::string v2_;                                       // where it is mounted; empty: nowhere
  std::vector<std::pair<std::string, std::string>> v1_;  // controller, where it is mounted
};

}  // namespace appmesh::platform

// The mount table of /proc/<pid>/mountinfo, see proc(5). Plain values; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace appmesh::platform {

struct Mount {
  std::filesystem::path point;
  std::string type;           // "cgroup2", "ext4", …
  std::string super_options;  // comma-separated; of a cgroup v1 mount they name the controllers
  [[nodiscard]] bool has_super_option(std::string_view option) const;
};

// In mount order. Lines that cannot be read are left out.
[[nodiscard]] Result<std::vector<Mount>> read_mount_info(const std::filesystem::path& file);

}  // namespace appmesh::platform

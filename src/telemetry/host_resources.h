// The resources object of GET /appmesh/resources (docs/wire.md#resources): what the machine, the daemon's
// cgroup and the daemon itself use. Owned by the daemon; collect() reads /proc, cgroup files and file systems, so it
// belongs on a worker thread; any number of threads at once.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include <sys/types.h>

#include <boost/json/object.hpp>

#include "core/time.h"

namespace appmesh::telemetry {

class HostResources {
 public:
  struct Options {
    std::filesystem::path home;
    core::WallTime start_time;                 // of the daemon
    std::function<std::string()> description;  // BaseConfig.Description as it is now
    std::function<pid_t()> keeper_pid;         // 0: none. Its descendants are the applications
    std::filesystem::path proc = "/proc";
  };

  explicit HostResources(Options options) : options_(std::move(options)) {}

  // Always an object; what could not be read is named in collector_errors and left out or 0.
  [[nodiscard]] boost::json::object collect() const;

 private:
  Options options_;
};

}  // namespace appmesh::telemetry

// Instances of an app (docs/wire.md#own-fields) inside the daemon: instance 0 is the app under its own name, each
// further one is an app of its own, "web#1", with the shared definition under that name. The '#' is in no name that a
// user may give, so nothing of an instance collides with another app: not its state, its output files, nor its runs.
// Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace appmesh::core {

struct InstanceName {
  std::string_view app;  // the name that users know; points into what was split
  std::uint32_t instance = 0;
};

[[nodiscard]] std::string instance_key(std::string_view app, std::uint32_t instance);
[[nodiscard]] InstanceName split_instance(std::string_view key);

}  // namespace appmesh::core

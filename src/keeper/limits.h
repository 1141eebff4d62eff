// Resource limits: the keeper raises its own, and what it starts has those that the keeper was started with. Keeper
// thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/resource.h>

namespace appmesh::keeper {

// Those that children shall have, where they differ from the keeper's own.
struct ChildLimits {
  struct One {
    std::uint32_t resource;
    rlimit limit;
  };
  One items[16];
  std::uint32_t count;
};
inline constexpr std::size_t kLimitsTextBytes = 1024;

// "7:1024:4096,2:0:0": resource, soft, hard. An appsvc that has raised its own limits says so which it was started
// with, and a keeper that re-executes itself hands them on. False: not such a text.
bool parse_limits(const char* text, ChildLimits& limits);
void format_limits(const ChildLimits& limits, char (&text)[kLimitsTextBytes]);

// Lifts what could stop the keeper while it works: the number of descriptors, the size of its journal, memory and
// processor time. What is raised and not in `limits` yet is added there.
void raise_own_limits(ChildLimits& limits);

}  // namespace appmesh::keeper

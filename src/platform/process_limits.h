// The resource limits of this process: raised for its own work, and those that it was started with kept for what it
// starts. Process-wide, as the limits are; raise_own_limits() is called once, before there are threads.
#pragma once

#include <string>

namespace appmesh::platform {

// Every soft limit to its hard one; where that is allowed, descriptors, file sizes, memory and processor time beyond
// it. Threads made from now on get a stack of their own size, whatever the stack limit is.
void raise_own_limits();

// Those of the start that differ from now: "resource:soft:hard,...", for appkeeper --limits. Empty: none does.
[[nodiscard]] const std::string& limits_of_the_start();

}  // namespace appmesh::platform

// Waits for a rolling restart, which goes on after the request that asked for it was answered. Main thread only.
#pragma once

#include <string>

#include <appmesh/client.h>

#include "cli/terminal.h"

namespace appmesh::cli {

// At once 0 when none is under way. 0 when it has come to its end, 1 with the reason when it stopped; 128 + N when
// signal N came first, and then it goes on without us.
int await_rolling_restart(Client& client, const std::string& name, const Interrupt& interrupt);

}  // namespace appmesh::cli

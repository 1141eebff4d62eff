// Output of remote programs as it appears: one run to its end, or an app through all its restarts. Long-polls, survives
// a restart of the daemon. Main thread only; the caller's Interrupt ends every wait.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include <appmesh/client.h>

#include "cli/terminal.h"

namespace appmesh::cli {

struct StreamEnd {
  enum class Why { kExited, kInterrupted, kOutputClosed } why = Why::kExited;
  std::optional<int> exit_code;
};

// Writes the output of the run to stdout until it has completed. Throws when the run app disappears before that.
StreamEnd stream_run(Client& client, const Run& run, const Interrupt& interrupt);

// False when there is nobody to write for any more.
using OutputWriter = std::function<bool(std::string_view)>;
// Where a follower goes on: behind what was printed already of that run.
struct FollowStart {
  std::string process_uuid;
  std::uint64_t position = 0;
};

// Writes the output of an app, run after run, until it is removed or a signal comes. Returns the exit code for appc.
int follow_app(Client& client, const std::string& name, const Interrupt& interrupt,
               const OutputWriter& write = write_output, const FollowStart& start = {});

// Writes what is stored of one run (0 = current, 1.. = older) and returns.
int print_output(Client& client, const std::string& name, int index);

}  // namespace appmesh::cli

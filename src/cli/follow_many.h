// Output of several apps at once, each line after the name of its app. One thread and one connection an app; lines are
// written whole. Called on the main thread.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace appmesh::cli {

struct FollowManyOptions {
  bool follow = false;
  int tail = -1;      // lines of the present run; -1: all
  std::string since;  // see parse_since(); empty: the present run only
};

// Returns the exit code for appc.
int follow_many(Context& context, const std::vector<std::string>& apps, const FollowManyOptions& options);

}  // namespace appmesh::cli

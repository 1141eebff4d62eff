// The columns of `appc ls`. A pure function of the apps and the time; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include <appmesh/app.h>

#include "cli/table.h"

namespace appmesh::cli {

// `wide` adds the next start and the last error.
Table app_table(const std::vector<App>& apps, std::int64_t now, bool wide);

}  // namespace appmesh::cli

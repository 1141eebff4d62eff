// Durations as the wire writes them: whole seconds as an integer, a numeric string, or ISO 8601 (PnW or
// PnYnMnDTnHnMnS). Years count 365 days and months are refused, see docs/wire.md#definition. Pure functions,
// any thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "core/error.h"

namespace appmesh::core {

// "90", "PT5M", "P1D". Errors: invalid_argument with the reason; negative values and overflow are errors too.
[[nodiscard]] Result<std::chrono::seconds> parse_duration(std::string_view text);

}  // namespace appmesh::core

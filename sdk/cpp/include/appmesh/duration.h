// Durations as people write them. A pure function, callable from any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace appmesh {

// Whole seconds ("90") or ISO 8601 ("PT5M", "P1DT12H", "P2W", "P1Y" = 365 days). Nothing for negative values, months,
// fractions, more than 100 years, or anything else.
std::optional<std::chrono::seconds> parse_duration(std::string_view text);

}  // namespace appmesh

// Numbers and durations in query strings, by the one rule of docs/wire.md#rest: out of range means the
// default, not a number or duration means 400. Pure functions, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <string_view>

#include "api/request.h"
#include "core/error.h"

namespace appmesh::api {

struct NumberRange {
  std::int64_t minimum = 0;
  std::int64_t maximum = std::numeric_limits<std::int64_t>::max();
  std::int64_t fallback = 0;  // for an absent value and one out of range
};

// Seconds or an ISO 8601 duration. Errors: invalid_argument that names the parameter.
[[nodiscard]] Result<std::int64_t> query_number(const Request& request, std::string_view name, NumberRange range);

// true or 1, false or 0; absent and empty are false. Errors: invalid_argument that names the parameter.
[[nodiscard]] Result<bool> query_flag(const Request& request, std::string_view name);

}  // namespace appmesh::api

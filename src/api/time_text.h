// Instants as the wire's `_TEXT` fields show them: YYYY-MM-DDTHH:MM:SS±hh in the configured zone, section 3.4 of the
// wire contract. Immutable; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"

namespace appmesh::api {

class TimeText {
 public:
  // "+08", "-03:30", or empty for the host's own zone; anything else counts as the host's.
  explicit TimeText(std::string_view zone);

  [[nodiscard]] std::string operator()(core::WallTime instant) const;
  // Seconds of a UTC day as local time of day, "09:00:00+08".
  [[nodiscard]] std::string time_of_day(int seconds) const;

 private:
  std::optional<std::chrono::seconds> offset_;
};

}  // namespace appmesh::api

// Instants as the wire's `_TEXT` fields show them: YYYY-MM-DDTHH:MM:SS±hh in the configured zone, see
// docs/wire.md#time-text. Immutable; any thread.
#pragma once

#include <string>
#include <utility>

#include "core/time.h"
#include "core/zone.h"

namespace appmesh::api {

class TimeText {
 public:
  explicit TimeText(core::Zone zone) : zone_(std::move(zone)) {}

  [[nodiscard]] std::string operator()(core::WallTime instant) const;
  // Seconds of a UTC day as local time of day, "09:00:00+08".
  [[nodiscard]] std::string time_of_day(int seconds) const;
  [[nodiscard]] const core::Zone& zone() const { return zone_; }

 private:
  core::Zone zone_;
};

}  // namespace appmesh::api

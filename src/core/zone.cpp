#include "core/zone.h"

#include <algorithm>

namespace appmesh::core {

using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

bool Zone::operator==(const Zone& other) const {
  if (!rules || !other.rules) return rules == other.rules && utc_offset == other.utc_offset;
  return rules == other.rules || *rules == *other.rules;
}

Zone::Stretch Zone::stretch_at(sys_seconds at) const {
  if (!rules) return {.offset = utc_offset};
  const auto& changes = rules->changes;
  const auto next = std::ranges::upper_bound(changes, at.time_since_epoch().count(), {}, &ZoneRules::Change::at);
  Stretch stretch;
  const auto offset_until = [&](auto change) {
    return seconds(change == changes.begin() ? rules->first_offset_seconds : std::prev(change)->offset_seconds);
  };
  stretch.offset = offset_until(next);
  if (next != changes.begin()) {
    stretch.begin = sys_seconds(seconds(std::prev(next)->at));
    stretch.offset_before = offset_until(std::prev(next));
  }
  if (next != changes.end()) stretch.end = sys_seconds(seconds(next->at));
  return stretch;
}

local_seconds Zone::to_local(sys_seconds at) const {
  return local_seconds(at.time_since_epoch() + offset_at(at));
}

sys_seconds Zone::to_utc(local_seconds local) const {
  // No offset is more than a day, so the answer lies in one of the stretches from here on.
  auto stretch = stretch_at(sys_seconds(local.time_since_epoch()) - std::chrono::days(2));
  for (;;) {
    const sys_seconds at = sys_seconds(local.time_since_epoch() - stretch.offset);
    if (stretch.begin && at < *stretch.begin) return *stretch.begin;
    if (!stretch.end || at < *stretch.end) return at;
    stretch = stretch_at(*stretch.end);
  }
}

}  // namespace appmesh::core

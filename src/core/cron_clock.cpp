#include "core/cron_clock.h"

#include <algorithm>

namespace appmesh::core {

namespace {

using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;

local_seconds local(sys_seconds at, seconds offset) {
  return local_seconds(at.time_since_epoch() + offset);
}

bool is_for_every_hour(const CronExpression& cron) {
  return cron.hours.all();
}

}  // namespace

std::optional<sys_seconds> next_instant(const CronExpression& cron, sys_seconds after, const Zone& zone) {
  const bool every_hour = is_for_every_hour(cron);
  auto stretch = zone.stretch_at(after);
  local_seconds from = local(after, stretch.offset) + seconds(1);
  std::optional<local_seconds> found;
  for (;;) {
    if (!every_hour && stretch.begin) from = std::max(from, local(*stretch.begin, stretch.offset_before));
    if (!found || *found < from) found = next_local(cron, from - seconds(1));
    if (!found) return std::nullopt;
    const sys_seconds at(found->time_since_epoch() - stretch.offset);
    if (!stretch.end || at < *stretch.end) return at;
    const sys_seconds change = *stretch.end;
    stretch = zone.stretch_at(change);
    from = local(change, stretch.offset);
    if (*found < from && !every_hour) return change;
    if (stretch.offset < stretch.offset_before) found.reset();
  }
}

std::uint64_t count_instants(const CronExpression& cron, sys_seconds after, sys_seconds until, const Zone& zone) {
  const bool every_hour = is_for_every_hour(cron);
  const sys_seconds end = until + seconds(1);
  std::uint64_t count = 0;
  for (sys_seconds begin = after + seconds(1); begin < end;) {
    const auto stretch = zone.stretch_at(begin);
    const sys_seconds stop = stretch.end ? std::min(*stretch.end, end) : end;
    local_seconds from = local(begin, stretch.offset);
    if (!every_hour && stretch.begin) {
      const local_seconds before = local(*stretch.begin, stretch.offset_before);
      const bool is_change = begin == *stretch.begin;
      // Whatever fell into the gap comes at its end, once, together with what belongs there.
      if (is_change && before < from && count_local(cron, before, from) > 0 &&
          count_local(cron, from, from + seconds(1)) == 0)
        ++count;
      from = std::max(from, before);
    }
    count += count_local(cron, from, local(stop, stretch.offset));
    begin = stop;
  }
  return count;
}

}  // namespace appmesh::core

// The zone that cron expressions are read in: a fixed offset, or rules with the instants at which its offset changes. A
// plain value; the rules are shared and never change once they are in a Zone. platform/time_zone.h reads them from the
// host. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace appmesh::core {

struct ZoneRules {
  struct Change {
    std::int64_t at = 0;              // epoch seconds
    std::int32_t offset_seconds = 0;  // local time minus UTC from `at` on; never the offset that was valid before
    bool operator==(const Change&) const = default;
  };
  std::int32_t first_offset_seconds = 0;  // before the first change
  std::vector<Change> changes;            // in the order of time
  bool operator==(const ZoneRules&) const = default;
};

struct Zone {
  std::chrono::seconds utc_offset{0};  // local time minus UTC, when there are no rules
  std::shared_ptr<const ZoneRules> rules;

  // The same rules, wherever they were read from.
  [[nodiscard]] bool operator==(const Zone& other) const;

  // A stretch of time with one offset.
  struct Stretch {
    std::chrono::seconds offset{0};
    std::optional<std::chrono::sys_seconds> begin;  // none: since ever
    std::chrono::seconds offset_before{0};          // valid until `begin`
    std::optional<std::chrono::sys_seconds> end;    // none: for good
  };
  [[nodiscard]] Stretch stretch_at(std::chrono::sys_seconds at) const;
  [[nodiscard]] std::chrono::seconds offset_at(std::chrono::sys_seconds at) const { return stretch_at(at).offset; }

  [[nodiscard]] std::chrono::local_seconds to_local(std::chrono::sys_seconds at) const;
  // A local time that comes twice means its first pass; one that is left out means the first instant after the gap.
  [[nodiscard]] std::chrono::sys_seconds to_utc(std::chrono::local_seconds local) const;
};

}  // namespace appmesh::core

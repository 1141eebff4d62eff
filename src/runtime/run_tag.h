// What the daemon writes beside each run in the keeper's table, so that a new daemon knows whose run it is without
// having seen it start. One line of `key=value` pairs, <= 384 bytes for the longest app name. A value, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace appmesh::runtime {

enum class RunKind : std::uint8_t { app, health };  // health: a check of the app's run, no run of its own

struct RunTag {
  std::string app;
  std::string process_key;  // APP_MESH_PROCESS_KEY, 32 hex digits
  std::string cgroup;       // name below the daemon's parent group; empty: none
  std::string notify;       // name of its notify socket; empty: none
  std::string made_of;      // core::run_fingerprint() of the definition that it was started with; empty: not known
  std::uint64_t run_number = 0;
  std::uint32_t instance = 0;
  RunKind kind = RunKind::app;
  bool terminal = false;  // it has a terminal, which the keeper holds as the first of its kept descriptors
  bool awaited = false;   // a caller waits for its end: nobody else knows of it until the state store does

  [[nodiscard]] std::string encode() const;
  // Unknown keys are skipped, so a newer daemon may have written more. nullopt: not a tag of ours.
  [[nodiscard]] static std::optional<RunTag> decode(std::string_view text);

  bool operator==(const RunTag&) const = default;
};

}  // namespace appmesh::runtime

// The processes of one moment, for who asks about many of them: /proc is walked once, and each answer then costs what
// it shows. Immutable; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "platform/process.h"

namespace appmesh::platform {

class ProcessTable {
 public:
  // Of ProcFs::list_processes(), in any order.
  explicit ProcessTable(std::vector<ProcessStat> processes);

  [[nodiscard]] std::size_t size() const { return processes_.size(); }
  [[nodiscard]] const ProcessStat* find(pid_t pid) const;  // nullptr: was not there
  // The process, its descendants, and who shares its session though its parent is gone, each once; nothing when it was
  // not there. Zombies too.
  [[nodiscard]] std::vector<const ProcessStat*> members(pid_t pid) const;
  // Those with this parent.
  [[nodiscard]] std::vector<const ProcessStat*> children_of(pid_t pid) const;
  // The process and its descendants, one a line, each level indented by two more spaces: "1234 nginx". At most
  // `max_lines` lines, the last then says how many were left out. Error not_found.
  [[nodiscard]] Result<std::string> tree_text(pid_t pid, std::size_t max_lines) const;

 private:
  // Places in processes_, by pid.
  [[nodiscard]] std::span<const std::uint32_t> children(pid_t pid) const;

  std::vector<ProcessStat> processes_;     // by pid
  std::vector<std::uint32_t> by_parent_;   // places in processes_, by ppid, then pid
  std::vector<std::uint32_t> by_session_;  // places in processes_, by session
};

}  // namespace appmesh::platform

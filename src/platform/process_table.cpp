#include "platform/process_table.h"

#include <algorithm>
#include <numeric>
#include <ranges>
#include <unordered_set>

#include "core/text.h"

namespace appmesh::platform {

ProcessTable::ProcessTable(std::vector<ProcessStat> processes)
    : processes_(std::move(processes)), by_parent_(processes_.size()), by_session_(processes_.size()) {
  std::ranges::sort(processes_, {}, &ProcessStat::pid);
  std::iota(by_parent_.begin(), by_parent_.end(), 0U);
  std::ranges::sort(by_parent_, {},
                    [this](std::uint32_t place) { return std::pair(processes_[place].ppid, processes_[place].pid); });
  std::iota(by_session_.begin(), by_session_.end(), 0U);
  std::ranges::sort(by_session_, {}, [this](std::uint32_t place) { return processes_[place].session; });
}

const ProcessStat* ProcessTable::find(pid_t pid) const {
  const auto found = std::ranges::lower_bound(processes_, pid, {}, &ProcessStat::pid);
  return found != processes_.end() && found->pid == pid ? &*found : nullptr;
}

std::span<const std::uint32_t> ProcessTable::children(pid_t pid) const {
  const auto range =
      std::ranges::equal_range(by_parent_, pid, {}, [this](std::uint32_t place) { return processes_[place].ppid; });
  return {range.begin(), range.end()};
}

std::vector<const ProcessStat*> ProcessTable::children_of(pid_t pid) const {
  std::vector<const ProcessStat*> found;
  for (const std::uint32_t place : children(pid)) found.push_back(&processes_[place]);
  return found;
}

std::vector<const ProcessStat*> ProcessTable::members(pid_t pid) const {
  std::vector<const ProcessStat*> found;
  if (const ProcessStat* const root = find(pid)) found.push_back(root);
  if (found.empty()) return found;
  const auto session =
      std::ranges::equal_range(by_session_, pid, {}, [this](std::uint32_t place) { return processes_[place].session; });
  // Nearly always nobody but itself: only then is nothing looked for twice.
  if (session.size() + children(pid).size() <= 1) return found;
  std::unordered_set<pid_t> known{pid};
  const auto take = [&](std::uint32_t place) {
    if (known.insert(processes_[place].pid).second) found.push_back(&processes_[place]);
  };
  for (const std::uint32_t place : session) take(place);
  for (std::size_t next = 0; next < found.size(); ++next)
    for (const std::uint32_t place : children(found[next]->pid)) take(place);
  return found;
}

Result<std::string> ProcessTable::tree_text(pid_t pid, std::size_t max_lines) const {
  const ProcessStat* const root = find(pid);
  if (root == nullptr) return fail(ErrorKind::not_found, "no such process " + std::to_string(pid));
  struct Item {
    const ProcessStat* process;
    std::size_t depth;
  };
  std::vector<Item> open{{root, 0}};
  std::string text;
  std::size_t lines = 0;
  std::size_t left_out = 0;
  // A list is no snapshot, so pids may seem to form a cycle: no more items than processes are ever visited.
  for (std::size_t visited = 0; !open.empty() && visited < processes_.size(); ++visited) {
    const auto [process, depth] = open.back();
    open.pop_back();
    if (lines < max_lines) {
      text.append(depth * 2, ' ')
          .append(std::to_string(process->pid))
          .append(" ")
          .append(core::plain_text(process->name))
          .append("\n");
      ++lines;
    } else {
      ++left_out;
    }
    for (const std::uint32_t place : children(process->pid) | std::views::reverse)  // the stack turns the order round
      open.push_back({&processes_[place], depth + 1});
  }
  if (left_out > 0) text += "… " + std::to_string(left_out) + " more\n";
  return text;
}

}  // namespace appmesh::platform

#include "engine/dependency_graph.h"

#include <algorithm>
#include <deque>

namespace appmesh::engine {

void DependencyGraph::set(const std::string& app, const Wishes& wishes) {
  if (const auto before = wishes_.find(app); before != wishes_.end()) {
    for (const auto& [name, condition] : before->second) {
      const auto others = dependants_.find(name);
      others->second.erase(app);
      if (others->second.empty()) dependants_.erase(others);
    }
    wishes_.erase(before);
  }
  if (wishes.empty()) return;
  for (const auto& [name, condition] : wishes) dependants_[name].insert(app);
  wishes_.emplace(app, wishes);
}

std::vector<std::string> DependencyGraph::dependants_of(const std::string& app) const {
  const auto found = dependants_.find(app);
  if (found == dependants_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::optional<std::vector<std::string>> DependencyGraph::find_cycle(const std::string& app,
                                                                    const Wishes& wishes) const {
  std::unordered_map<std::string, std::string> reached_from;
  std::deque<std::string> open;
  const auto reach = [&](const std::string& from, const Wishes& next) {
    for (const auto& [name, condition] : next)
      if (reached_from.emplace(name, from).second) open.push_back(name);
  };
  reach(app, wishes);
  while (!open.empty()) {
    const std::string name = open.front();
    open.pop_front();
    if (name == app) {
      std::vector<std::string> path{app};
      for (std::string at = reached_from.at(app); at != app; at = reached_from.at(at)) path.push_back(at);
      path.push_back(app);
      std::ranges::reverse(path);
      return path;
    }
    if (const auto known = wishes_.find(name); known != wishes_.end()) reach(name, known->second);
  }
  return std::nullopt;
}

}  // namespace appmesh::engine

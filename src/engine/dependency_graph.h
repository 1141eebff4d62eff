// Which registered app depends on which (`depends_on`, docs/wire.md#own-fields), by name: refuses cycles, and knows
// whom a change concerns. Holds what definitions say, those that are being written included. Owned by the engine and
// used only on its thread; apps without dependencies cost nothing.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/app_definition.h"

namespace appmesh::engine {

class DependencyGraph {
 public:
  using Wishes = std::map<std::string, core::DependencyCondition>;

  void set(const std::string& app, const Wishes& wishes);  // empty: none
  // Sorted names of the apps that name this one.
  [[nodiscard]] std::vector<std::string> dependants_of(const std::string& app) const;
  [[nodiscard]] bool has_dependants(const std::string& app) const { return dependants_.contains(app); }
  // The shortest way from the app back to itself if it had these dependencies: first and last name are the app's.
  [[nodiscard]] std::optional<std::vector<std::string>> find_cycle(const std::string& app, const Wishes& wishes) const;

 private:
  std::unordered_map<std::string, Wishes> wishes_;
  std::unordered_map<std::string, std::set<std::string>> dependants_;
};

}  // namespace appmesh::engine

#include "engine/app_view.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/instance_name.h"

namespace appmesh::engine {

AppViewPtr AppDirectory::find(std::string_view name) const {
  return name.find('#') == std::string_view::npos ? find_key(name) : nullptr;
}

AppViewPtr AppDirectory::find_instance(std::string_view name, std::uint32_t instance) const {
  const AppViewPtr app = find(name);
  if (app == nullptr || instance >= app->instance_count) return nullptr;
  return instance == 0 ? app : find_key(core::instance_key(name, instance));
}

AppViewPtr AppDirectory::find_key(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto found = views_.find(name);
  return found == views_.end() ? nullptr : found->second;
}

std::vector<AppViewPtr> AppDirectory::list() const {
  std::vector<AppViewPtr> views;
  {
    const std::shared_lock lock(mutex_);
    views.reserve(views_.size());
    for (const auto& [name, view] : views_)
      if (name.find('#') == std::string::npos) views.push_back(view);
  }
  std::ranges::sort(views, {}, [](const AppViewPtr& view) -> const std::string& { return view->definition->name; });
  return views;
}

void AppDirectory::publish(AppViewPtr view) {
  AppViewPtr before;
  const AppView& now = *view;
  const auto definition = now.definition;
  const std::uint64_t generation = now.generation;
  {
    const std::unique_lock lock(mutex_);
    AppViewPtr& place = views_[definition->name];
    before = std::exchange(place, std::move(view));
  }
  if (!changed_ || before == nullptr) return;
  const bool same_access =
      before->definition == definition ||
      (before->definition->owner == definition->owner && before->definition->permission == definition->permission);
  if (!same_access || before->generation != generation) changed_(definition->name);
}

void AppDirectory::erase(const std::string& name) {
  {
    const std::unique_lock lock(mutex_);
    views_.erase(name);
  }
  if (changed_) changed_(name);
}

}  // namespace appmesh::engine

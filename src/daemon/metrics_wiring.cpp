#include "daemon/metrics_wiring.h"

namespace appmesh::daemon {

RequestCounter::RequestCounter(const api::RouteTable& routes) {
  std::vector<telemetry::RequestMetrics::RouteName> names;
  for (const auto& route : routes.routes()) {
    places_.emplace(route.get(), names.size());
    names.push_back({std::string(api::to_string(route->method)), route->pattern});
  }
  metrics_ = std::make_unique<telemetry::RequestMetrics>(std::move(names));
}

void RequestCounter::ended(const api::Route* route, int status, std::chrono::nanoseconds duration) {
  const auto place = places_.find(route);
  metrics_->ended(place == places_.end() ? places_.size() : place->second, status, duration);
}

std::vector<telemetry::AppUse> app_uses(const engine::AppDirectory& directory, api::ProcessSampler& sampler) {
  std::vector<telemetry::AppUse> uses;
  for (const auto& view : directory.list()) {
    telemetry::AppUse use{.name = view->definition->name,
                          .starts = view->starts,
                          .enabled = view->status != core::AppStatus::disabled,
                          .healthy = view->healthy,
                          .pid = view->pid};
    if (view->pid != 0)
      if (const auto sample = sampler.sample(view->pid))
        use.process = {.memory_bytes = sample->memory_bytes,
                       .cpu_cores = sample->cpu_percent / 100,
                       .descriptors = sample->descriptors};
    uses.push_back(std::move(use));
  }
  return uses;
}

}  // namespace appmesh::daemon

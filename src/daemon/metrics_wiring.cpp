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

namespace {

std::optional<telemetry::TaskUse> task_use(const engine::TaskFigures& figures) {
  if (figures.submitted + figures.refused == 0) return std::nullopt;
  const auto seconds = [](engine::TaskFigures::Duration duration) {
    return std::chrono::duration<double>(duration).count();
  };
  return telemetry::TaskUse{.queued = figures.queued,
                            .active = figures.active,
                            .submitted = figures.submitted,
                            .taken = figures.taken,
                            .wait_seconds = seconds(figures.wait_total),
                            .service_seconds = seconds(figures.service_total),
                            .outcomes = {{"answered", figures.answered},
                                         {"timed_out", figures.timed_out},
                                         {"cancelled", figures.cancelled},
                                         {"interrupted", figures.interrupted},
                                         {"abandoned", figures.abandoned},
                                         {"refused", figures.refused}}};
}

}  // namespace

std::vector<telemetry::AppUse> app_uses(const engine::AppDirectory& directory, api::ProcessSampler& sampler) {
  const auto views = directory.list();
  std::vector<std::int32_t> pids;
  pids.reserve(views.size());
  for (const auto& view : views) pids.push_back(view->pid);
  const auto samples = sampler.sample_all(pids);
  std::vector<telemetry::AppUse> uses;
  uses.reserve(views.size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto& view = views[i];
    telemetry::AppUse use{.name = view->definition->name,
                          .starts = view->starts,
                          .enabled = view->status != core::AppStatus::disabled,
                          .healthy = view->healthy,
                          .pid = view->pid};
    if (const auto& sample = samples[i])
      use.process = {.memory_bytes = sample->memory_bytes,
                     .cpu_cores = sample->cpu_percent / 100,
                     .descriptors = sample->descriptors};
    if (view->tasks) use.tasks = task_use(view->tasks->figures());
    uses.push_back(std::move(use));
  }
  return uses;
}

}  // namespace appmesh::daemon

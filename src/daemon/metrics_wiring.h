// What the metrics page is made of: the counts of requests and a picture of every app. Owned by the daemon.
#pragma once

#include <chrono>
#include <memory>
#include <unordered_map>
#include <vector>

#include "api/process_sampler.h"
#include "api/service.h"
#include "engine/app_view.h"
#include "telemetry/metrics.h"
#include "telemetry/request_metrics.h"

namespace appmesh::daemon {

// Passes what the service tells on to the counters. Any thread.
class RequestCounter final : public api::RequestObserver {
 public:
  explicit RequestCounter(const api::RouteTable& routes);

  void began() override { metrics_->began(); }
  void ended(const api::Route* route, int status, std::chrono::nanoseconds duration) override;

  [[nodiscard]] const telemetry::RequestMetrics& metrics() const { return *metrics_; }

 private:
  std::unordered_map<const api::Route*, std::size_t> places_;  // never changes
  std::unique_ptr<telemetry::RequestMetrics> metrics_;
};

// Reads /proc for every running app: for a worker thread.
[[nodiscard]] std::vector<telemetry::AppUse> app_uses(const engine::AppDirectory& directory,
                                                      api::ProcessSampler& sampler);

}  // namespace appmesh::daemon

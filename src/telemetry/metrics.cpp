#include "telemetry/metrics.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <sstream>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

namespace appmesh::telemetry {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Collects families; every series gets the label `host`.
class Page {
 public:
  explicit Page(std::string host) : host_(std::move(host)) {}

  // Good until the next call.
  MetricFamily& family(std::string name, std::string help, MetricType type) {
    families_.push_back({.name = std::move(name), .help = std::move(help), .type = type, .metric = {}});
    return families_.back();
  }

  ClientMetric& series(MetricFamily& family, Labels labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.label.push_back({"host", host_});
    family.metric.push_back(std::move(metric));
    return family.metric.back();
  }

  void value(MetricFamily& family, Labels labels, double value) {
    ClientMetric& metric = series(family, std::move(labels));
    if (family.type == MetricType::Counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
  }

  // A family is written whole, so families without a series are left out.
  [[nodiscard]] std::string text() {
    std::erase_if(families_, [](const MetricFamily& family) { return family.metric.empty(); });
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families_);
    return std::move(out).str();
  }

 private:
  std::string host_;
  std::vector<MetricFamily> families_;
};

std::size_t own_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  return error ? 0 : static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

void add_daemon(Page& page, const std::string& version, std::uint64_t scrapes) {
  page.value(page.family("appmesh_metrics_scrapes_total", "Scrapes of this page", MetricType::Counter), {},
             static_cast<double>(scrapes));
  page.value(page.family("appmesh_process_id", "Process id of the daemon", MetricType::Gauge), {}, ::getpid());
  page.value(page.family("appmesh_build_info", "Version of the daemon, always 1", MetricType::Gauge),
             {{"version", version}}, 1);
  page.value(page.family("appmesh_process_open_fds", "Open descriptors of the daemon", MetricType::Gauge), {},
             static_cast<double>(own_descriptors()));
}

void add_requests(Page& page, const RequestMetrics& requests) {
  const auto counts = requests.counts();
  auto& total = page.family("appmesh_http_requests_total", "Requests answered", MetricType::Counter);
  for (const auto& route : counts)
    for (const auto& [status, count] : route.statuses)
      page.value(total,
                 {{"method", route.name.method},
                  {"route", route.name.pattern},
                  {"status_code", std::to_string(status)},
                  {"status_class", std::to_string(status / 100) + "xx"}},
                 static_cast<double>(count));
  auto& duration =
      page.family("appmesh_http_request_duration_seconds", "Time from a request to its answer", MetricType::Histogram);
  for (const auto& route : counts) {
    auto& histogram = page.series(duration, {{"method", route.name.method}, {"route", route.name.pattern}}).histogram;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < route.buckets.size(); ++i) {
      below += route.buckets[i];
      const bool last = i == RequestMetrics::kBounds.size();
      histogram.bucket.push_back(
          {.cumulative_count = below,
           .upper_bound = last ? std::numeric_limits<double>::infinity() : RequestMetrics::kBounds[i]});
    }
    histogram.sample_count = below;
    histogram.sample_sum = route.seconds;
  }
  page.value(page.family("appmesh_http_requests_in_flight", "Requests that wait for their answer", MetricType::Gauge),
             {}, static_cast<double>(requests.in_flight()));
}

void add_gauge(Page& page, const std::vector<AppUse>& apps, std::string name, std::string help, MetricType type,
               const std::function<std::optional<double>(const AppUse&)>& value) {
  auto& family = page.family("appmesh_application_" + std::move(name), std::move(help), type);
  for (const AppUse& app : apps)
    if (const auto number = value(app)) page.value(family, {{"application", app.name}}, *number);
}

std::function<std::optional<double>(const AppUse&)> of_process(double (*value)(const ProcessUse&)) {
  return [value](const AppUse& app) { return app.process ? std::optional(value(*app.process)) : std::nullopt; };
}

std::function<std::optional<double>(const AppUse&)> of_tasks(double (*value)(const TaskUse&)) {
  return [value](const AppUse& app) { return app.tasks ? std::optional(value(*app.tasks)) : std::nullopt; };
}

void add_apps(Page& page, const std::vector<AppUse>& apps) {
  constexpr auto kGauge = MetricType::Gauge;
  constexpr auto kCounter = MetricType::Counter;
  add_gauge(page, apps, "process_starts_total", "Accepted starts", kCounter,
            [](const AppUse& app) { return static_cast<double>(app.starts); });
  add_gauge(page, apps, "enabled", "1: enabled", kGauge, [](const AppUse& app) { return app.enabled ? 1.0 : 0.0; });
  add_gauge(page, apps, "running", "1: a process runs", kGauge,
            [](const AppUse& app) { return app.pid != 0 ? 1.0 : 0.0; });
  add_gauge(page, apps, "healthy", "1: healthy", kGauge, [](const AppUse& app) { return app.healthy ? 1.0 : 0.0; });
  add_gauge(page, apps, "process_id", "Process id, 0 when nothing runs", kGauge,
            [](const AppUse& app) { return static_cast<double>(app.pid); });
  add_gauge(page, apps, "process_resident_memory_bytes", "Resident memory of the process", kGauge,
            of_process([](const ProcessUse& use) { return static_cast<double>(use.memory_bytes); }));
  add_gauge(page, apps, "process_cpu_usage_cores", "Processors in use", kGauge,
            of_process([](const ProcessUse& use) { return use.cpu_cores; }));
  add_gauge(page, apps, "process_open_fds", "Open descriptors of the process", kGauge,
            of_process([](const ProcessUse& use) { return static_cast<double>(use.descriptors); }));
  add_gauge(page, apps, "tasks_queued", "Tasks that wait for a worker", kGauge,
            of_tasks([](const TaskUse& use) { return static_cast<double>(use.queued); }));
  add_gauge(page, apps, "tasks_active", "Tasks that a worker has", kGauge,
            of_tasks([](const TaskUse& use) { return static_cast<double>(use.active); }));
  add_gauge(page, apps, "tasks_submitted_total", "Accepted tasks", kCounter,
            of_tasks([](const TaskUse& use) { return static_cast<double>(use.submitted); }));
  add_gauge(page, apps, "tasks_taken_total", "Tasks that a worker took", kCounter,
            of_tasks([](const TaskUse& use) { return static_cast<double>(use.taken); }));
  add_gauge(page, apps, "task_wait_seconds_total", "Time that taken tasks waited for a worker", kCounter,
            of_tasks([](const TaskUse& use) { return use.wait_seconds; }));
  add_gauge(page, apps, "task_service_seconds_total", "Time that workers took for answered tasks", kCounter,
            of_tasks([](const TaskUse& use) { return use.service_seconds; }));
  auto& finished = page.family("appmesh_application_tasks_finished_total", "Tasks by their end", kCounter);
  for (const AppUse& app : apps)
    if (app.tasks)
      for (const auto& [outcome, count] : app.tasks->outcomes)
        page.value(finished, {{"application", app.name}, {"outcome", outcome}}, static_cast<double>(count));
}

}  // namespace

std::string Metrics::render() {
  Page page(sources_.host);
  const auto apps = sources_.apps ? sources_.apps() : std::vector<AppUse>{};
  add_daemon(page, sources_.version, scrapes_.fetch_add(1, std::memory_order_relaxed) + 1);
  if (sources_.requests != nullptr) add_requests(page, *sources_.requests);
  add_apps(page, apps);
  const std::lock_guard lock(errors_mutex_);
  count_errors(apps);
  page.value(page.family("appmesh_metrics_collection_errors_total", "Values that could not be read",
                         prometheus::MetricType::Counter),
             {}, static_cast<double>(all_errors_));
  add_gauge(page, apps, "metrics_collection_errors_total", "Values of the application that could not be read",
            prometheus::MetricType::Counter,
            [this](const AppUse& app) { return static_cast<double>(errors_.at(app.name)); });
  return page.text();
}

// A process that runs and cannot be read from /proc ended a moment ago, or hides.
void Metrics::count_errors(const std::vector<AppUse>& apps) {
  std::map<std::string, std::uint64_t> counted;
  for (const AppUse& app : apps) {
    const auto before = errors_.find(app.name);
    const bool failed = app.pid != 0 && !app.process;
    counted[app.name] = (before == errors_.end() ? 0 : before->second) + (failed ? 1 : 0);
    all_errors_ += failed ? 1 : 0;
  }
  errors_ = std::move(counted);
}

}  // namespace appmesh::telemetry

#include "telemetry/metrics.h"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <string_view>

#include <fmt/format.h>
#include <unistd.h>

#include "core/text.h"

namespace appmesh::telemetry {
namespace {

// The format of https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4, straight into one text:
// with thousands of apps a page has a hundred thousand series, and a tree of objects for each costs ten times the text.
class Page {
 public:
  explicit Page(std::string_view host) { append_label(host_, "host", core::repair_utf8(host)); }

  // Opens a family, which ends with the next one. It is written with its first series, so a family without is left out.
  void family(std::string_view name, std::string_view help, std::string_view type) {
    name_ = name;
    head_ = fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
  }

  // A label as it stands in a series, for series(): made once where it is used often.
  static void append_label(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append("=\"");
    for (const char c : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n')
        out += "\\n";
      else
        out += c;
    }
    out += '"';
  }
  [[nodiscard]] static std::string labels(
      std::initializer_list<std::pair<std::string_view, std::string_view>> names_and_values) {
    std::string out;
    for (const auto& [name, value] : names_and_values) {
      append_label(out, name, value);
      out += ',';
    }
    return out;
  }

  // `labels` of labels(); every series gets the label `host` too. `suffix` is for the parts of a histogram.
  void series(std::string_view labels, double value, std::string_view suffix = {}, std::string_view last_label = {}) {
    text_.append(std::exchange(head_, {})).append(name_).append(suffix).append("{").append(labels).append(host_);
    text_.append(last_label).append("} ");
    fmt::format_to(std::back_inserter(text_), "{}\n", value);
  }

  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  std::string host_;
  std::string name_;
  std::string head_;
  std::string text_;
};

constexpr std::string_view kGauge = "gauge";
constexpr std::string_view kCounter = "counter";
constexpr std::string_view kHistogram = "histogram";

std::size_t own_descriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator entries("/proc/self/fd", error);
  return error ? 0 : static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

void add_daemon(Page& page, std::string_view version, std::uint64_t scrapes) {
  page.family("appmesh_metrics_scrapes_total", "Scrapes of this page", kCounter);
  page.series({}, static_cast<double>(scrapes));
  page.family("appmesh_process_id", "Process id of the daemon", kGauge);
  page.series({}, ::getpid());
  page.family("appmesh_build_info", "Version of the daemon, always 1", kGauge);
  page.series(Page::labels({{"version", version}}), 1);
  page.family("appmesh_process_open_fds", "Open descriptors of the daemon", kGauge);
  page.series({}, static_cast<double>(own_descriptors()));
}

void add_requests(Page& page, const RequestMetrics& requests) {
  const auto counts = requests.counts();
  page.family("appmesh_http_requests_total", "Requests answered", kCounter);
  for (const auto& route : counts)
    for (const auto& [status, count] : route.statuses)
      page.series(Page::labels({{"method", route.name.method},
                                {"route", route.name.pattern},
                                {"status_code", std::to_string(status)},
                                {"status_class", std::to_string(status / 100) + "xx"}}),
                  static_cast<double>(count));
  page.family("appmesh_http_request_duration_seconds", "Time from a request to its answer", kHistogram);
  for (const auto& route : counts) {
    const std::string labels = Page::labels({{"method", route.name.method}, {"route", route.name.pattern}});
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < route.buckets.size(); ++i) {
      below += route.buckets[i];
      const bool last = i == RequestMetrics::kBounds.size();
      const std::string bound =
          last ? std::string(R"(,le="+Inf")") : fmt::format(",le=\"{}\"", RequestMetrics::kBounds[i]);
      page.series(labels, static_cast<double>(below), "_bucket", bound);
    }
    page.series(labels, route.seconds, "_sum");
    page.series(labels, static_cast<double>(below), "_count");
  }
  page.family("appmesh_http_requests_in_flight", "Requests that wait for their answer", kGauge);
  page.series({}, static_cast<double>(requests.in_flight()));
}

// An app with its label as every series of it begins.
struct LabelledApp {
  const AppUse& use;
  std::string label;
};

// One series for each app that `value` has a number for.
template <typename Value>
void add_family(Page& page, const std::vector<LabelledApp>& apps, std::string_view name, std::string_view help,
                std::string_view type, Value value) {
  page.family(fmt::format("appmesh_application_{}", name), help, type);
  for (const LabelledApp& app : apps)
    if (const std::optional<double> number = value(app.use)) page.series(app.label, *number);
}

template <typename Value>
auto of_process(Value value) {
  return [value](const AppUse& app) {
    return app.process ? std::optional(static_cast<double>(value(*app.process))) : std::nullopt;
  };
}

template <typename Value>
auto of_tasks(Value value) {
  return [value](const AppUse& app) {
    return app.tasks ? std::optional(static_cast<double>(value(*app.tasks))) : std::nullopt;
  };
}

void add_apps(Page& page, const std::vector<LabelledApp>& apps) {
  add_family(page, apps, "process_starts_total", "Accepted starts", kCounter,
             [](const AppUse& app) { return static_cast<double>(app.starts); });
  add_family(page, apps, "enabled", "1: enabled", kGauge, [](const AppUse& app) { return app.enabled ? 1.0 : 0.0; });
  add_family(page, apps, "running", "1: a process runs", kGauge,
             [](const AppUse& app) { return app.pid != 0 ? 1.0 : 0.0; });
  add_family(page, apps, "healthy", "1: healthy", kGauge, [](const AppUse& app) { return app.healthy ? 1.0 : 0.0; });
  add_family(page, apps, "process_id", "Process id, 0 when nothing runs", kGauge,
             [](const AppUse& app) { return static_cast<double>(app.pid); });
  add_family(page, apps, "process_resident_memory_bytes", "Resident memory of the process", kGauge,
             of_process([](const ProcessUse& use) { return use.memory_bytes; }));
  add_family(page, apps, "process_cpu_usage_cores", "Processors in use", kGauge,
             of_process([](const ProcessUse& use) { return use.cpu_cores; }));
  add_family(page, apps, "process_open_fds", "Open descriptors of the process", kGauge,
             of_process([](const ProcessUse& use) { return use.descriptors; }));
  add_family(page, apps, "tasks_queued", "Tasks that wait for a worker", kGauge,
             of_tasks([](const TaskUse& use) { return use.queued; }));
  add_family(page, apps, "tasks_active", "Tasks that a worker has", kGauge,
             of_tasks([](const TaskUse& use) { return use.active; }));
  add_family(page, apps, "tasks_submitted_total", "Accepted tasks", kCounter,
             of_tasks([](const TaskUse& use) { return use.submitted; }));
  add_family(page, apps, "tasks_taken_total", "Tasks that a worker took", kCounter,
             of_tasks([](const TaskUse& use) { return use.taken; }));
  add_family(page, apps, "task_wait_seconds_total", "Time that taken tasks waited for a worker", kCounter,
             of_tasks([](const TaskUse& use) { return use.wait_seconds; }));
  add_family(page, apps, "task_service_seconds_total", "Time that workers took for answered tasks", kCounter,
             of_tasks([](const TaskUse& use) { return use.service_seconds; }));
  page.family("appmesh_application_tasks_finished_total", "Tasks by their end", kCounter);
  for (const LabelledApp& app : apps)
    if (app.use.tasks)
      for (const auto& [outcome, count] : app.use.tasks->outcomes)
        page.series(app.label + Page::labels({{"outcome", outcome}}), static_cast<double>(count));
}

}  // namespace

std::string Metrics::render() {
  Page page(sources_.host);
  const auto uses = sources_.apps ? sources_.apps() : std::vector<AppUse>{};
  std::vector<LabelledApp> apps;
  apps.reserve(uses.size());
  for (const AppUse& use : uses) apps.push_back({use, Page::labels({{"application", use.name}})});
  add_daemon(page, sources_.version, scrapes_.fetch_add(1, std::memory_order_relaxed) + 1);
  if (sources_.requests != nullptr) add_requests(page, *sources_.requests);
  add_apps(page, apps);
  const std::lock_guard lock(errors_mutex_);
  count_errors(uses);
  page.family("appmesh_metrics_collection_errors_total", "Values that could not be read", kCounter);
  page.series({}, static_cast<double>(all_errors_));
  add_family(page, apps, "metrics_collection_errors_total", "Values of the application that could not be read",
             kCounter, [this](const AppUse& app) { return static_cast<double>(errors_.at(app.name)); });
  return std::move(page).text();
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

#include "api/config_routes.h"

#include <string>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "api/on_worker.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

constexpr const char* kTag = "Host";
constexpr std::string_view kSecurityPermission = "config-security";  // in no shipped role
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

// Every change is in the audit trail, and every refused one; what changed nothing is not.
void note(const ConfigRoutes& wiring, const Context& context, const Result<store::Configuration::Changes>& changes) {
  if (changes && changes->empty()) return;
  wiring.audit.note({.action = changes ? "configuration changed" : "configuration change refused",
                     .user = context.principal->user,
                     .peer = context.request.peer,
                     .app = {},
                     .run_id = {},
                     .os_user = {},
                     .exit_code = {},
                     .detail = changes ? fmt::format("{}", fmt::join(*changes, ", ")) : changes.error().message});
}

asio::awaitable<Response> change_configuration(const ConfigRoutes& wiring, const Context& context) {
  auto change = parse_json_object(context.request);
  if (!change) co_return error_response(change.error());
  const auto most = context.principal->may(kSecurityPermission) ? store::KeyClass::security : store::KeyClass::ordinary;
  const auto changed =
      co_await on_worker(wiring.worker, [&configuration = wiring.configuration, most, change = std::move(*change)] {
        return configuration.update(change, most);
      });
  note(wiring, context, changed);
  if (!changed) co_return error_response(changed.error());
  co_return json_response(wiring.configuration.view());
}

void add_label_routes(RouteTable& table, const ConfigRoutes& wiring) {
  auto& configuration = wiring.configuration;
  table.add({.method = Method::get,
             .pattern = "/appmesh/labels",
             .requirement = Requirement::permission("label-view"),
             .handler = [&configuration](Context&) -> asio::awaitable<Response> {
               json::object labels;
               for (const auto& [name, value] : configuration.labels()) labels[name] = value;
               co_return json_response(labels);
             },
             .summary = "All labels of this host",
             .tag = kTag,
             .answers = {{200, "label to value"}}});

  table.add({.method = Method::put,
             .pattern = "/appmesh/label/{name}",
             .requirement = Requirement::permission("label-set"),
             .handler = [&configuration, wiring](Context& context) -> asio::awaitable<Response> {
               const auto value = context.request.query_value("value");
               if (!value || value->empty()) {
                 co_return error_response({ErrorKind::invalid_argument, "query value required", {}});
               }
               const auto done = co_await on_worker(
                   wiring.worker, [&configuration, name = context.variable("name"), text = std::string(*value)] {
                     return configuration.set_label(name, text);
                   });
               note(wiring, context, done);
               if (!done) co_return error_response(done.error());
               co_return text_response("Add label success");
             },
             .summary = "Set a label",
             .tag = kTag,
             .parameters = {{Parameter::In::query, "value", "at most 1024 bytes", true}},
             .answers = {{200, "Add label success", std::string(kTextType)}, {400, "a bad name or value"}}});

  table.add({.method = Method::del,
             .pattern = "/appmesh/label/{name}",
             .requirement = Requirement::permission("label-delete"),
             .handler = [&configuration, wiring](Context& context) -> asio::awaitable<Response> {
               const auto done = co_await on_worker(wiring.worker, [&configuration, name = context.variable("name")] {
                 return configuration.delete_label(name);
               });
               note(wiring, context, done);
               if (!done) co_return error_response(done.error());
               co_return text_response("Label delete success");
             },
             .summary = "Delete a label; also a success when there is none",
             .tag = kTag,
             .answers = {{200, "Label delete success", std::string(kTextType)}}});
}

void add_document_routes(RouteTable& table, const ConfigRoutes& wiring) {
  auto& configuration = wiring.configuration;
  table.add({.method = Method::get,
             .pattern = "/appmesh/config",
             .requirement = Requirement::permission("config-view"),
             .handler = [&configuration](Context&) -> asio::awaitable<Response> {
               co_return json_response(configuration.view());
             },
             .summary = "The configuration, secrets redacted",
             .tag = kTag,
             .answers = {{200, "the whole configuration"}}});

  table.add({.method = Method::post,
             .pattern = "/appmesh/config",
             .requirement = Requirement::permission("config-set"),
             .handler = [wiring](Context& context) { return change_configuration(wiring, context); },
             .summary = "Change parts of the configuration: a deep merge, all or nothing",
             .tag = kTag,
             .request_type = std::string(kJsonType),
             .answers = {{200, "the whole configuration"},
                         {400, "names the key that is wrong"},
                         {403, "names the key that decides security, for a caller without config-security"}}});

  table.add({.method = Method::get,
             .pattern = "/appmesh/resources",
             .requirement = Requirement::permission("host-resource-view"),
             .handler = [resources = wiring.resources, worker = wiring.worker](Context&) -> asio::awaitable<Response> {
               auto collected = co_await on_worker(worker, [&resources] { return resources(); });
               co_return json_response(std::move(collected));
             },
             .summary = "What the host has and uses",
             .tag = kTag,
             .answers = {{200, "the resources object"}}});
}

// Free, as scrapers expect: the page tells names and numbers of apps and nothing of what they do.
void add_metrics_routes(RouteTable& table, const ConfigRoutes& wiring) {
  for (const char* pattern : {"/metrics", "/appmesh/metrics"})
    table.add({.method = Method::get,
               .pattern = pattern,
               .requirement = Requirement::free(),
               .handler = [metrics = wiring.metrics, worker = wiring.worker](Context&) -> asio::awaitable<Response> {
                 Response page = text_response(co_await on_worker(worker, [&metrics] { return metrics(); }));
                 page.content_type = kMetricsType;
                 co_return page;
               },
               .summary = "Metrics for Prometheus",
               .tag = kTag,
               .answers = {{200, "text format 0.0.4", kMetricsType}}});
}

}  // namespace

void add_config_routes(RouteTable& table, ConfigRoutes wiring) {
  add_label_routes(table, wiring);
  add_document_routes(table, wiring);
  add_metrics_routes(table, wiring);
}

}  // namespace appmesh::api

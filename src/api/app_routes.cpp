#include "api/app_routes.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <iterator>

#include <boost/json/array.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/app_access.h"
#include "api/app_edit.h"
#include "api/app_json.h"
#include "api/on_engine.h"
#include "api/on_worker.h"
#include "api/query_numbers.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;

constexpr std::int64_t kDefaultHistory = 100;
constexpr std::int64_t kMaxHistory = 1000;
constexpr double kFarFuture = 1e11;  // epoch seconds

TimeText time_text(const AppRoutes& wiring) {
  return TimeText(wiring.engine.zone());
}

std::string show(const AppRoutes& wiring, const engine::AppView& app, const ProcessSample* sample, const TimeText& text,
                 Keep keep) {
  std::string json = app_text(app, sample, wiring.engine.outputs(), text, keep);
  if (app.instance_count == 1) return json;
  boost::json::array runs;
  for (std::uint32_t k = 0; k < app.instance_count; ++k)
    if (const auto instance = wiring.engine.directory().find_instance(app.definition->name, k))
      runs.emplace_back(instance_json(*instance, k, text));
  add_member(json, "runs", runs);
  return json;
}

std::string show(const AppRoutes& wiring, const engine::AppView& app, Keep keep) {
  const auto sample = app.pid != 0 ? wiring.sampler.sample(app.pid) : nullptr;
  return show(wiring, app, sample.get(), time_text(wiring), keep);
}

Result<engine::AppViewPtr> find_app(const AppRoutes& wiring, const Context& context, core::Access access) {
  return api::find_app(wiring.engine.directory(), wiring.users, *context.principal, context.variable("name"), access);
}

awaitable<Response> view_app(const AppRoutes& wiring, Context& context) {
  const auto app = find_app(wiring, context, core::Access::read);
  if (!app) co_return error_response(app.error());
  co_return json_text_response(show(wiring, **app, Keep::yes));
}

std::string list_text(const AppRoutes& wiring, const security::Principal& caller) {
  auto apps = wiring.engine.directory().list();
  std::erase_if(apps, [&](const engine::AppViewPtr& app) {
    return !may_access(wiring.users, caller, *app->definition, core::Access::read);
  });
  std::vector<std::int32_t> pids;
  pids.reserve(apps.size());
  for (const auto& app : apps) pids.push_back(app->pid);
  const auto samples = wiring.sampler.sample_all(pids);
  const TimeText text = time_text(wiring);
  std::string json = "[";
  for (std::size_t i = 0; i < apps.size(); ++i) {
    if (i > 0) json += ',';
    json += show(wiring, *apps[i], samples[i].get(), text, Keep::no);
  }
  json += ']';
  return json;
}

awaitable<Response> list_apps(const AppRoutes& wiring, Context& context) {
  co_return json_text_response(
      co_await on_worker(wiring.worker, [&] { return list_text(wiring, *context.principal); }));
}

awaitable<Response> check_health(const AppRoutes& wiring, Context& context) {
  const auto app = wiring.engine.directory().find(context.variable("name"));
  if (app == nullptr) co_return error_response(no_such_app(context.variable("name")));
  co_return text_response(app->healthy ? "0" : "1");
}

Result<void> check_registration(const core::AppDefinition& definition) {
  if (auto named = core::check_app_name(definition.name); !named) return named;
  if (definition.status == core::AppStatus::not_available)
    return fail(ErrorKind::invalid_argument, "field 'status': 2 is for on-demand runs, use 0 or 1");
  return core::require_program(definition);
}

// docs/wire.md#register: only where something can be sent unasked; over HTTP it is not even looked at.
Result<std::optional<engine::Subscription>> asked_subscription(const AppRoutes& wiring, const Context& context,
                                                               const std::string& app) {
  const auto events = context.request.query_value("subscribe_events");
  if (!events || events->empty() || !context.request.connection) return std::nullopt;
  const auto mask = engine::EventMask::parse(*events);
  if (!mask) return std::unexpected(mask.error());
  if (const auto allowed = security::require_permission(*context.principal, "app-subscribe"); !allowed)
    return std::unexpected(allowed.error());
  if (context.request.right) context.request.right->need("app-subscribe");
  return make_subscription(wiring, context, app, *mask);
}

awaitable<Response> register_app(const AppRoutes& wiring, Context& context) {
  const auto json = parse_json_object(context.request);
  if (!json) co_return error_response(json.error());
  auto parsed = core::parse_definition(*json, context.request.body);
  if (!parsed) co_return error_response(parsed.error());
  core::AppDefinition& definition = parsed->definition;

  engine::Expected expected;
  const auto existing = wiring.engine.directory().find(definition.name);
  if (auto checked = check_registration(definition); !checked) co_return error_response(checked.error());
  if (existing != nullptr) {
    const auto writable = api::find_app(wiring.engine.directory(), wiring.users, *context.principal, definition.name,
                                        core::Access::write);
    if (!writable) co_return error_response(writable.error());
    if (auto allowed = check_edit(**writable, *context.principal, wiring.os_user, definition); !allowed)
      co_return error_response(allowed.error());
    expected.generation = (*writable)->generation;
    const auto& before = (*writable)->definition;
    if (!owns(*context.principal, *before) || before->owner.empty()) expected.definition = before;
  } else {
    definition.owner = context.principal->as_owner;
  }
  const std::string name = definition.name;

  auto subscription = asked_subscription(wiring, context, definition.name);
  if (!subscription) co_return error_response(subscription.error());
  if (!*subscription) context.request.right.reset();  // nothing of this request lasts
  const std::string subscription_id = *subscription ? (*subscription)->id : std::string{};
  auto hold = *subscription ? context.request.connection->hold_pushes() : nullptr;

  const auto registered = co_await on_engine<engine::AppViewPtr>([&](auto done) {
    if (*subscription)
      wiring.engine.register_app(std::move(definition), expected, std::move(**subscription), std::move(done));
    else
      wiring.engine.register_app(std::move(definition), expected, std::move(done));
  });
  if (!registered) co_return error_response(registered.error());
  if (*registered == nullptr)
    co_return error_response({ErrorKind::conflict, "the application was removed meanwhile", {}});
  if (!subscription_id.empty() && context.request.right) {
    // The app may be new: only now is there one to narrow the right to.
    auto allowed =
        context.request.right->narrow(wiring.engine.directory(), name, (*registered)->generation, core::Access::read);
    if (allowed) allowed = still_allowed(wiring, context, subscription_id);
    if (!allowed) co_return error_response(allowed.error());
  }
  std::string shown = show(wiring, **registered, Keep::no);
  if (!subscription_id.empty()) add_member(shown, "subscription_id", boost::json::string(subscription_id));
  Response response = json_text_response(std::move(shown));
  response.hold = std::move(hold);
  name_unknown(response, parsed->unknown_fields);
  co_return response;
}

awaitable<Response> change_owner(const AppRoutes& wiring, Context& context) {
  const auto app = find_app(wiring, context, core::Access::write);
  if (!app) co_return error_response(app.error());
  const std::string owner(context.request.query_value("user").value_or(""));
  if (owner.empty()) co_return error_response({ErrorKind::invalid_argument, "query 'user': required", {}});
  const auto users = wiring.users.snapshot();
  const security::User* next = users->find(owner);
  if (next == nullptr) co_return error_response({ErrorKind::not_found, fmt::format("No such user: {}", owner), {}});
  const auto& before = (*app)->definition;
  auto given = with_owner(*before, *context.principal, wiring.os_user, next->as_owner());
  if (!given) co_return error_response(given.error());
  const bool without_secrets = given->sec_env != before->sec_env;
  const auto changed = co_await on_engine<engine::AppViewPtr>([&](auto done) {
    wiring.engine.register_app(std::move(*given), {.generation = (*app)->generation, .definition = before},
                               std::move(done));
  });
  if (!changed) co_return error_response(changed.error());
  spdlog::info("application {} of {} was given to {} by {}", before->name, core::name_of_owner(before->owner), owner,
               context.principal->user);
  Response response = message_response(fmt::format("Application <{}> is of <{}> now.", before->name, owner));
  if (without_secrets) response.add_header("X-Omitted-Fields", "sec_env");
  co_return response;
}

awaitable<Response> set_enabled(const AppRoutes& wiring, Context& context, bool enabled) {
  const auto app = find_app(wiring, context, core::Access::write);
  if (!app) co_return error_response(app.error());
  const std::string& name = (*app)->definition->name;
  const auto changed = co_await on_engine<bool>(
      [&](auto done) { wiring.engine.set_enabled(name, enabled, (*app)->generation, std::move(done)); });
  if (!changed) co_return error_response(changed.error());
  co_return message_response(fmt::format("{} <{}> success.", enabled ? "Enable" : "Disable", name));
}

awaitable<Response> restart_app(const AppRoutes& wiring, Context& context) {
  const auto app = find_app(wiring, context, core::Access::write);
  if (!app) co_return error_response(app.error());
  const std::string& name = (*app)->definition->name;
  const auto restarted = co_await on_engine<void>(
      [&](auto done) { wiring.engine.restart_app(name, (*app)->generation, std::move(done)); });
  if (!restarted) co_return error_response(restarted.error());
  co_return message_response(fmt::format("Restart <{}> success.", name));
}

awaitable<Response> remove_app(const AppRoutes& wiring, Context& context) {
  const auto app = find_app(wiring, context, core::Access::write);
  if (!app) co_return error_response(app.error());
  const core::AppDefinition& definition = *(*app)->definition;
  if (definition.owner != context.principal->as_owner)
    if (const auto allowed = security::require_permission(*context.principal, "app-delete"); !allowed)
      co_return error_response(allowed.error());
  const auto force = query_flag(context.request, "force");
  if (!force) co_return error_response(force.error());
  const auto removed = co_await on_engine<void>(
      [&](auto done) { wiring.engine.remove_app(definition.name, (*app)->generation, *force, std::move(done)); });
  if (!removed) co_return error_response(removed.error());
  co_return message_response(fmt::format("Application <{}> removed.", definition.name));
}

double seconds_since_epoch(core::WallTime instant) {
  return std::chrono::duration<double>(instant.time_since_epoch()).count();
}

boost::json::object run_json(const store::RunRecord& run) {
  boost::json::object json{{"process_uuid", run.run_id}, {"instance", run.instance}, {"pid", run.pid}};
  if (run.start) json["start_time"] = seconds_since_epoch(*run.start);
  if (run.end) json["end_time"] = seconds_since_epoch(*run.end);
  if (run.return_code) json["return_code"] = *run.return_code;
  json["reason"] = run.reason;
  json["max_rss_bytes"] = run.max_rss_bytes;
  json["cpu_seconds"] = std::chrono::duration<double>(run.cpu).count();
  return json;
}

// Epoch seconds with a fraction, as the runs themselves give their times: the start of one page's last run asks for the
// next page.
Result<std::optional<core::WallTime>> query_before(const Request& request) {
  const auto text = request.query_value("before");
  if (!text || text->empty()) return std::nullopt;
  double seconds = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), seconds);
  const bool is_number = error != std::errc::invalid_argument && end == text->data() + text->size();
  if (!is_number || std::isnan(seconds))
    return fail(ErrorKind::invalid_argument, "query 'before': epoch seconds expected");
  if (error != std::errc{} || seconds < 0 || seconds >= kFarFuture) return std::nullopt;
  return core::WallTime(std::chrono::microseconds(std::llround(seconds * 1e6)));
}

awaitable<Response> list_runs(const AppRoutes& wiring, Context& context) {
  const auto app = find_app(wiring, context, core::Access::read);
  if (!app) co_return error_response(app.error());
  const auto limit = query_number(context.request, "limit", {1, kMaxHistory, kDefaultHistory});
  if (!limit) co_return error_response(limit.error());
  const auto before = query_before(context.request);
  if (!before) co_return error_response(before.error());

  auto stored =
      co_await on_worker(wiring.worker, [&wiring, name = (*app)->definition->name, limit = *limit, before = *before] {
        wiring.states.flush();  // what ended a moment ago belongs to the answer
        return wiring.states.runs(name, static_cast<std::size_t>(limit), before);
      });
  if (!stored) co_return error_response(stored.error());
  std::vector<store::RunRecord> living;
  // Rows are written when a run ends; what runs now is only known to the engine.
  for (std::uint32_t k = 0; k < (*app)->instance_count; ++k) {
    const auto instance = wiring.engine.directory().find_instance((*app)->definition->name, k);
    if (instance == nullptr || instance->pid == 0 || !instance->last_start) continue;
    if (*before && *instance->last_start >= **before) continue;
    store::RunRecord now;
    now.run_id = instance->run_id;
    now.instance = k;
    now.pid = instance->pid;
    now.start = instance->last_start;
    now.reason = "running";
    living.push_back(std::move(now));
  }
  // The rows come newest first. (stable_sort of libstdc++ 12 uses what C++20 has removed, and warns.)
  const auto start_of = [](const store::RunRecord& run) { return run.start; };
  std::ranges::sort(living, std::greater<>{}, start_of);
  std::vector<store::RunRecord> newest_first;
  newest_first.reserve(living.size() + stored->size());
  std::ranges::merge(living, *stored, std::back_inserter(newest_first), std::greater<>{}, start_of, start_of);
  boost::json::array runs;
  for (const auto& run : newest_first)
    if (runs.size() < static_cast<std::size_t>(*limit)) runs.emplace_back(run_json(run));
  co_return json_response(runs);
}

}  // namespace

void add_app_routes(RouteTable& table, AppRoutes wiring) {
  const Answer app_answer{200, "The application with its runtime fields"};
  const Answer missing{404, "No such application"};
  const Answer not_allowed{403, "The caller may not view or edit this application"};
  const Answer replaced{409, "Replaced or removed by another request meanwhile"};
  const Answer done{200, "Done"};

  table.add({.method = Method::get,
             .pattern = "/appmesh/app/{name}",
             .requirement = Requirement::permission("app-view"),
             .handler = [wiring](Context& context) { return view_app(wiring, context); },
             .summary = "One application",
             .tag = "applications",
             .answers = {app_answer, not_allowed, missing}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/applications",
             .requirement = Requirement::permission("app-view-all"),
             .handler = [wiring](Context& context) { return list_apps(wiring, context); },
             .summary = "All applications that the caller may read",
             .tag = "applications",
             .answers = {{200, "Array of applications"}}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/app/{name}/health",
             .requirement = Requirement::free(),
             .handler = [wiring](Context& context) { return check_health(wiring, context); },
             .summary = "Health of an application",
             .tag = "applications",
             .answers = {{200, "0 healthy, 1 unhealthy", std::string(kTextType)}, missing}});
  table.add({.method = Method::put,
             .pattern = "/appmesh/app/{name}",
             .requirement = Requirement::permission("app-reg"),
             .handler = [wiring](Context& context) { return register_app(wiring, context); },
             .summary = "Register an application, or change it; the name is that of the body",
             .tag = "applications",
             .request_type = std::string(kJsonType),
             .answers = {app_answer,
                         {400, "A field is wrong; the message names it"},
                         not_allowed,
                         replaced,
                         {503, "Too many requests of this user wait already"}},
             .lasts = true});
  for (const bool enabled : {true, false})
    table.add({.method = Method::post,
               .pattern = enabled ? "/appmesh/app/{name}/enable" : "/appmesh/app/{name}/disable",
               .requirement = Requirement::permission("app-control"),
               .handler = [wiring, enabled](Context& context) { return set_enabled(wiring, context, enabled); },
               .summary = enabled ? "Enable an application" : "Disable an application and stop it",
               .tag = "applications",
               .answers = {done, not_allowed, missing, replaced, {412, "An on-demand run"}}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/app/{name}/restart",
             .requirement = Requirement::permission("app-control"),
             .handler = [wiring](Context& context) { return restart_app(wiring, context); },
             .summary = "Stop an application, then start it; several instances one after the other",
             .tag = "applications",
             .answers = {done, not_allowed, missing, replaced, {412, "The application is not enabled"}}});
  table.add(
      {.method = Method::post,
       .pattern = "/appmesh/app/{name}/owner",
       .requirement = Requirement::permission("app-chown"),
       .handler = [wiring](Context& context) { return change_owner(wiring, context); },
       .summary = "Give an application to another user; sec_env goes along only when its owner, or admin, gives it",
       .tag = "applications",
       .parameters = {{Parameter::In::query, "user", "the new owner", true}},
       .answers = {{200, "Done; X-Omitted-Fields: sec_env when the secrets were dropped"},
                   {400, "No user"},
                   not_allowed,
                   {404, "No such application, or no such user"},
                   replaced,
                   {412, "The new owner has no OS user"}}});
  table.add(
      {.method = Method::del,
       .pattern = "/appmesh/app/{name}",
       .requirement = Requirement::token(),
       .handler = [wiring](Context& context) { return remove_app(wiring, context); },
       .summary = "Remove an application; others than its owner need app-delete",
       .tag = "applications",
       .parameters = {{Parameter::In::query, "force", "true: although other applications depend on it"}},
       .answers = {
           done, not_allowed, missing, {409, "Other applications depend on it; or replaced or removed meanwhile"}}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/app/{name}/runs",
             .requirement = Requirement::permission("app-view"),
             .handler = [wiring](Context& context) { return list_runs(wiring, context); },
             .summary = "Runs of an application, newest first",
             .tag = "applications",
             .parameters = {{Parameter::In::query, "limit", "1 to 1000, default 100"},
                            {Parameter::In::query, "before", "only runs started before this epoch second"}},
             .answers = {{200, "Array of runs"}, not_allowed, missing}});
}

}  // namespace appmesh::api

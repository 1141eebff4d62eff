// Subscriptions (docs/wire.md#events) and the same events as Server-Sent Events (docs/wire.md#own-fields).
#include <algorithm>

#include <appmesh/wire/json_text.h>
#include <boost/asio/this_coro.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include "api/app_access.h"
#include "api/app_routes.h"
#include "api/event_sinks.h"
#include "api/on_engine.h"
#include "platform/clock.h"
#include "platform/random.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;

constexpr std::size_t kSubscriptionIdBytes = 16;
constexpr std::size_t kMostAppsOfStream = 100;
constexpr std::string_view kSubscribePermission = "app-subscribe";
constexpr std::string_view kViewAllPermission = "app-view-all";
constexpr std::string_view kEndType = "END";

Result<engine::EventMask> asked_events(const Request& request) {
  return engine::EventMask::parse(request.query_value("events").value_or(""));
}

Result<void> may_see_all(const Context& context) {
  return security::require_permission(*context.principal, kViewAllPermission);
}

// What the peer of a subscription is told when the right to it is gone: the last push of it, of a type that no event
// has.
PushMessage last_push(const Error& why, const std::string& id, const std::string& app) {
  const int status = http_status(why.kind);
  auto body = std::make_shared<std::string>(wire::write_json(
      boost::json::object{{"subscription_id", id},
                          {"event_type", kEndType},
                          {"app_name", app.empty() ? "*" : app},
                          {"timestamp", core::epoch_seconds(platform::wall_now())},
                          {"data", boost::json::object{{"status", status}, {"reason", why.message}}}}));
  return {.status = status,
          .request_uri = "/appmesh/event",
          .content_type = std::string(kJsonType),
          .headers = {{"X-Subscription-Id", id},
                      {"X-Event-Type", std::string(kEndType)},
                      {"X-App-Name", app.empty() ? "*" : app}},
          .body_start = {},
          .body = std::move(body)};
}

// Ends the subscription with the right. That an app is gone the hub tells by itself, in its order.
std::shared_ptr<void> end_with(const std::shared_ptr<LongRight>& right, engine::Engine& engine, std::string id,
                               std::string user, std::move_only_function<void(const Error&)> tell) {
  if (!right) return nullptr;
  return std::make_shared<WhenLost>(
      right, [&engine, id = std::move(id), user = std::move(user), tell = std::move(tell)](const Error& why) mutable {
        if (why.kind == ErrorKind::not_found) return;
        engine.unsubscribe(id, user, [](Result<void>) {});
        tell(why);
      });
}

awaitable<Result<void>> place(const AppRoutes& wiring, engine::Subscription subscription, std::uint64_t generation) {
  co_return co_await on_engine<void>(
      [&](auto done) { wiring.engine.subscribe(std::move(subscription), generation, std::move(done)); });
}

awaitable<Response> subscribe(const AppRoutes& wiring, Context& context, bool all) {
  if (!context.request.connection)
    co_return error_response(
        {ErrorKind::method_not_allowed, "Subscribe requires a persistent connection (TCP or WebSocket)", {}});
  const auto& right = context.request.right;
  std::uint64_t generation = 0;
  std::string name;
  if (all) {
    if (const auto allowed = may_see_all(context); !allowed) co_return error_response(allowed.error());
    if (right) right->need(std::string(kSubscribePermission), std::string(kViewAllPermission));
  } else {
    name = context.variable("name");
    const auto app = find_app(wiring.engine.directory(), wiring.users, *context.principal, name, core::Access::read);
    if (!app) co_return error_response(app.error());
    generation = (*app)->generation;
    if (right) {
      const auto present = right->narrow(wiring.engine.directory(), name, generation, core::Access::read);
      if (!present) co_return error_response(present.error());
    }
  }
  const auto mask = asked_events(context.request);
  if (!mask) co_return error_response(mask.error());
  auto subscription = make_subscription(wiring, context, name, *mask);
  const std::string id = subscription.id;
  auto hold = context.request.connection->hold_pushes();
  const auto placed = co_await place(wiring, std::move(subscription), generation);
  if (!placed) co_return error_response(placed.error());
  if (const auto allowed = still_allowed(wiring, context, id); !allowed) co_return error_response(allowed.error());
  boost::json::array events;
  for (const auto event : mask->names()) events.emplace_back(event);
  Response response = json_response(
      boost::json::object{{"subscription_id", id}, {"app_name", all ? "*" : name}, {"events", std::move(events)}});
  response.hold = std::move(hold);
  co_return response;
}

awaitable<Response> unsubscribe(const AppRoutes& wiring, Context& context) {
  const auto id = context.request.query_value("subscription_id");
  if (!id || id->empty())
    co_return error_response({ErrorKind::invalid_argument, "query 'subscription_id': required", {}});
  const auto ended = co_await on_engine<void>(
      [&](auto done) { wiring.engine.unsubscribe(std::string(*id), context.principal->user, std::move(done)); });
  if (!ended) co_return error_response(ended.error());
  co_return message_response("unsubscribed");
}

// "a,b" or several `app=`; none: all apps.
Result<std::vector<std::string>> asked_apps(const Request& request) {
  std::vector<std::string> apps;
  for (const auto& [name, value] : request.query) {
    if (name != "app") continue;
    for (std::string_view rest = value; !rest.empty();) {
      const auto comma = rest.find(',');
      const std::string app(rest.substr(0, comma));
      if (!app.empty() && std::ranges::find(apps, app) == apps.end()) apps.push_back(app);
      rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    }
  }
  if (apps.size() > kMostAppsOfStream)
    return fail(ErrorKind::invalid_argument, fmt::format("query 'app': at most {} applications", kMostAppsOfStream));
  return apps;
}

awaitable<Response> stream_events(const AppRoutes& wiring, Context& context) {
  if (context.request.transport != TransportKind::https)
    co_return error_response({ErrorKind::method_not_allowed, "Event streams are for HTTPS: subscribe instead", {}});
  const auto mask = asked_events(context.request);
  if (!mask) co_return error_response(mask.error());
  auto names = asked_apps(context.request);
  if (!names) co_return error_response(names.error());
  const auto& right = context.request.right;
  std::vector<std::uint64_t> generations;
  for (const auto& name : *names) {
    const auto app = find_app(wiring.engine.directory(), wiring.users, *context.principal, name, core::Access::read);
    if (!app) co_return error_response(app.error());
    generations.push_back((*app)->generation);
  }
  if (names->empty()) {
    if (const auto allowed = may_see_all(context); !allowed) co_return error_response(allowed.error());
    if (right) right->need(std::string(kSubscribePermission), std::string(kViewAllPermission));
    names->emplace_back();
    generations.push_back(0);
  }

  auto stream =
      std::make_shared<EventStream>(co_await boost::asio::this_coro::executor, wiring.users, context.principal->user);
  auto body = std::make_shared<EventStreamBody>(wiring.engine, stream);  // ends what was placed when one is refused
  stream->expect(names->size());
  for (std::size_t i = 0; i < names->size(); ++i) {
    engine::Subscription subscription{.id = platform::random_hex(kSubscriptionIdBytes),
                                      .app = (*names)[i],
                                      .user = context.principal->user,
                                      .mask = *mask,
                                      .sink = stream,
                                      .hold = {}};
    if (right && !(*names)[i].empty()) {
      const auto own = right->another();  // each app may be lost by itself; the stream as a whole is the transport's
      if (!own) co_return error_response(own.error());
      const auto present = (*own)->narrow(wiring.engine.directory(), (*names)[i], generations[i], core::Access::read);
      if (!present) co_return error_response(present.error());
      subscription.hold = end_with(*own, wiring.engine, subscription.id, subscription.user,
                                   [weak = std::weak_ptr(stream)](const Error& why) {
                                     if (const auto here = weak.lock()) here->lose_one(why);
                                   });
    }
    const auto placed = co_await place(wiring, std::move(subscription), generations[i]);
    if (!placed) co_return error_response(placed.error());
  }
  Response response{.content_type = "text/event-stream", .stream = std::move(body)};
  response.add_header("Cache-Control", "no-store");
  response.add_header("X-Accel-Buffering", "no");
  co_return response;
}

}  // namespace

engine::Subscription make_subscription(const AppRoutes& wiring, const Context& context, std::string app,
                                       engine::EventMask mask) {
  engine::Subscription made{.id = platform::random_hex(kSubscriptionIdBytes),
                            .app = std::move(app),
                            .user = context.principal->user,
                            .mask = mask,
                            .sink = wiring.sinks.of(context.request.connection, context.principal->user),
                            .hold = {}};
  made.hold =
      end_with(context.request.right, wiring.engine, made.id, made.user,
               [weak = std::weak_ptr(context.request.connection), id = made.id, app = made.app](const Error& why) {
                 if (const auto here = weak.lock()) here->push(last_push(why, id, app));
               });
  return made;
}

Result<void> still_allowed(const AppRoutes& wiring, const Context& context, const std::string& subscription) {
  if (!context.request.right) return {};
  auto lost = context.request.right->lost();
  if (!lost) return {};
  wiring.engine.unsubscribe(subscription, context.principal->user, [](Result<void>) {});
  return std::unexpected(std::move(*lost));
}

void add_event_routes(RouteTable& table, AppRoutes wiring) {
  const Parameter events{Parameter::In::query, "events",
                         "START, EXIT, STDOUT, HEALTH, STATUS, REMOVED, ALL with commas between them; none: all"};
  const Parameter id{Parameter::In::query, "subscription_id", "what the subscription was answered with", true};
  const Answer not_http{405, "Plain HTTP: a subscription needs a connection over TCP or WebSocket"};
  const Answer refused{400, "No valid event"};
  const Answer not_allowed{403, "The caller may not view this application"};
  const Answer missing{404, "No such application"};
  const Answer full{503, "Too many subscriptions"};
  for (const bool all : {false, true}) {
    const std::string pattern = all ? "/appmesh/subscribe" : "/appmesh/app/{name}/subscribe";
    std::vector<Answer> answers{{200, "subscription_id, app_name and events"}, refused};
    if (!all) answers.insert(answers.end(), {not_allowed, missing});
    answers.insert(answers.end(), {not_http, full});
    table.add({.method = Method::post,
               .pattern = pattern,
               .requirement = Requirement::permission("app-subscribe"),
               .handler = [wiring, all](Context& context) { return subscribe(wiring, context, all); },
               .summary = all ? "Be told of all applications; needs app-view-all, too"
                              : "Be told what happens to an application, over this connection",
               .tag = "events",
               .parameters = {events},
               .answers = std::move(answers),
               .lasts = true});
    table.add({.method = Method::del,
               .pattern = pattern,
               .requirement = Requirement::permission("app-subscribe"),
               .handler = [wiring](Context& context) { return unsubscribe(wiring, context); },
               .summary = "End a subscription of one's own",
               .tag = "events",
               .parameters = {id},
               .answers = {{200, "Ended"}, {400, "No subscription_id"}, {404, "No such subscription"}}});
  }
  table.add({.method = Method::get,
             .pattern = "/appmesh/events",
             .requirement = Requirement::permission("app-subscribe"),
             .handler = [wiring](Context& context) { return stream_events(wiring, context); },
             .summary = "The same events as Server-Sent Events; without `app` those of all, which needs app-view-all",
             .tag = "events",
             .parameters = {{Parameter::In::query, "app", "applications with commas between them"}, events},
             .answers = {{200, "id: sequence, event: type, data: JSON; until the caller leaves", "text/event-stream"},
                         refused,
                         not_allowed,
                         missing,
                         full},
             .lasts = true});
}

}  // namespace appmesh::api

// What goes on with runs: tasks for their workers, and their events. Waiting for their end: client_wait.cpp.
#include <appmesh/client.h>
#include <appmesh/wire/json_text.h>

#include "client_json.h"
#include "session.h"

namespace appmesh {

using detail::app_path;

namespace {

std::string event_list(const std::vector<std::string>& events) {
  std::string list;
  for (const std::string& event : events) list += (list.empty() ? "" : ",") + event;
  return list;
}

}  // namespace

std::string Client::run_task(std::string_view app, std::string_view payload, std::chrono::seconds timeout) {
  Request request;
  request.method = "POST";
  request.path = app_path(app, "task");
  request.query.emplace_back("timeout", std::to_string(timeout.count()));
  request.headers.emplace_back("Content-Type", "application/octet-stream");
  request.body = payload;
  return call(std::move(request)).body;
}

bool Client::cancel_task(std::string_view app) {
  return send("DELETE", app_path(app, "task")).status == 200;
}

void Client::expect_events() {
  Session* session = session_.get();
  transport_->deliver_events([session](const EventMessage& message) { session->events.take(message); },
                             [session](const std::string& reason) { session->events.end(reason); });
  transport_->expect_events();
}

Subscription Client::subscribe(std::string_view app, const std::vector<std::string>& events, EventCallback callback) {
  expect_events();
  Fields query;
  if (!events.empty()) query.emplace_back("events", event_list(events));
  const std::string path = app == "*" ? "/appmesh/subscribe" : app_path(app, "subscribe");
  const App answer(detail::parse_object(send("POST", path, std::move(query))));
  const auto id = answer.text("subscription_id");
  if (!id) throw ClientError(ErrorKind::kProtocol, "the server's answer names no subscription");
  return session_->events.attach(*id, std::string(app), std::move(callback));
}

Subscription Client::add_app_and_subscribe(const App& app, const std::vector<std::string>& events,
                                           EventCallback callback) {
  expect_events();
  const Fields query{{"subscribe_events", events.empty() ? "ALL" : event_list(events)}};
  const App answer(detail::parse_object(send("PUT", app_path(app.name()), query, wire::write_json(app.json()))));
  const auto id = answer.text("subscription_id");
  if (!id) throw ClientError(ErrorKind::kUsage, "events need a connection that lasts: use tcp://");
  return session_->events.attach(*id, app.name(), std::move(callback));
}

void Client::unsubscribe(const Subscription& subscription) {
  const std::string path =
      subscription.app_name() == "*" ? "/appmesh/subscribe" : app_path(subscription.app_name(), "subscribe");
  session_->events.detach(subscription.id());
  try {
    send("DELETE", path, {{"subscription_id", subscription.id()}});
  } catch (const ClientError& error) {
    if (error.status() != 404) throw;  // it is over already
  }
}

}  // namespace appmesh

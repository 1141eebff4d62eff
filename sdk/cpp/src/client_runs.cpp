// What goes on with runs: waiting for their end, tasks for their workers, their events.
#include <algorithm>

#include <appmesh/client.h>
#include <boost/json/serialize.hpp>

#include "client_json.h"
#include "session.h"

namespace appmesh {

using detail::app_path;

namespace {

using Clock = std::chrono::steady_clock;

// The daemon answers a long poll as soon as there is news: this only bounds how long a dead peer goes unnoticed.
constexpr std::chrono::seconds kPoll{20};

std::string event_list(const std::vector<std::string>& events) {
  std::string list;
  for (const std::string& event : events) list += (list.empty() ? "" : ",") + event;
  return list;
}

}  // namespace

std::optional<int> Client::wait(const Run& run, const OutputHandler& on_output, std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  OutputQuery query{.process_uuid = run.process_uuid};
  for (;;) {
    query.wait = kPoll;
    if (timeout.count() > 0) {
      // Whole seconds are asked for, and at least one: the last poll may end a little late.
      const auto left = std::chrono::ceil<std::chrono::seconds>(end - Clock::now());
      query.wait = std::clamp(left, std::chrono::seconds{1}, kPoll);
    }
    Output output;
    try {
      output = app_output(run.name, query);
    } catch (const ClientError& error) {
      if (error.status() != 404) throw;
      throw ClientError(ErrorKind::kRemoved, "the app " + run.name + " was removed before its run had ended", 404);
    }
    if (output.run_changed) {
      throw ClientError(ErrorKind::kStatus, "the run " + run.process_uuid + " is not the newest of " + run.name, 417);
    }
    // The oldest output may have been given up: what comes may begin later than was asked for.
    const std::uint64_t next = std::max(output.position, query.position);
    if (!output.text.empty() && on_output) on_output(output.text, next - output.text.size());
    const bool more = next > query.position;
    query.position = next;
    if (output.exit_code && !more) {
      delete_app(run.name);
      return output.exit_code;
    }
    if (!output.exit_code && timeout.count() > 0 && Clock::now() >= end) return std::nullopt;
  }
}

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
  const App answer(detail::parse_object(send("PUT", app_path(app.name()), query, boost::json::serialize(app.json()))));
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

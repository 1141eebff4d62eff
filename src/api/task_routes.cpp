// Tasks: section 2.6 of the wire contract. The queue of an app hangs on its published picture, so nothing here hops to
// the engine thread. Callers are users; workers are known by their process key alone.
#include <chrono>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "api/app_access.h"
#include "api/app_routes.h"
#include "api/one_shot.h"
#include "api/query_numbers.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;
using engine::TaskQueue;

constexpr std::int64_t kDefaultTimeout = 300;
constexpr std::int64_t kMaxTimeout = 259'200;  // 3 days
constexpr std::string_view kBytesType = "application/octet-stream";

void when_caller_leaves(Request& request, std::move_only_function<void()> left) {
  if (request.when_peer_leaves) request.when_peer_leaves(std::move(left));
}

Result<std::shared_ptr<TaskQueue>> queue_for_caller(const AppRoutes& wiring, const Context& context) {
  const auto app = find_app(wiring.engine.directory(), wiring.users, *context.principal, context.variable("name"),
                            core::Access::write);
  if (!app) return std::unexpected(app.error());
  return (*app)->tasks;
}

awaitable<Response> send_task(const AppRoutes& wiring, Context& context) {
  const auto queue = queue_for_caller(wiring, context);
  if (!queue) co_return error_response(queue.error());
  const auto timeout = query_number(context.request, "timeout", {1, kMaxTimeout, kDefaultTimeout});
  if (!timeout) co_return error_response(timeout.error());

  const auto answer = std::make_shared<OneShot<Result<std::string>>>();
  const auto task = (*queue)->submit(std::move(context.request.body),
                                     [answer](Result<std::string> result) { answer->set(std::move(result)); });
  if (!task) co_return error_response(task.error());
  const std::weak_ptr<TaskQueue> weak = *queue;
  when_caller_leaves(context.request, [weak, id = *task, gone = std::weak_ptr(answer)] {
    if (const auto left = weak.lock()) left->abandon(id);
    if (const auto waiting = gone.lock()) waiting->set(fail(ErrorKind::expectation_failed, "The caller has gone"));
  });
  boost::asio::steady_timer timer(co_await boost::asio::this_coro::executor, std::chrono::seconds(*timeout));
  timer.async_wait([weak, id = *task](const boost::system::error_code& error) {
    if (error) return;
    if (const auto late = weak.lock()) late->expire(id);
  });
  auto result = co_await answer->get();
  if (!result) co_return error_response(result.error());
  co_return Response{.content_type = std::string(kBytesType), .body = std::move(*result)};
}

awaitable<Response> cancel_task(const AppRoutes& wiring, Context& context) {
  const auto queue = queue_for_caller(wiring, context);
  if (!queue) co_return error_response(queue.error());
  if (!(*queue)->cancel()) co_return message_response("No task is active", http_status(ErrorKind::already_reported));
  co_return message_response("The task was cancelled");
}

Result<std::shared_ptr<TaskQueue>> queue_for_worker(const AppRoutes& wiring, const Context& context) {
  const auto app = wiring.engine.directory().find(context.variable("name"));
  if (app == nullptr) return std::unexpected(no_such_app(context.variable("name")));
  return app->tasks;
}

// Clients before 1.6 name the parameter otherwise, clients from 3.0 on send a header; the value is the key all the
// same.
std::string_view process_key(const Request& request) {
  if (const auto key = request.query_value("process_key")) return *key;
  if (const auto key = request.query_value("process_uuid")) return *key;
  return request.header("x-appmesh-process-key").value_or("");
}

awaitable<Response> fetch_task(const AppRoutes& wiring, Context& context) {
  const auto queue = queue_for_worker(wiring, context);
  if (!queue) co_return error_response(queue.error());
  const auto payload = std::make_shared<OneShot<Result<TaskQueue::Payload>>>();
  const auto fetch = (*queue)->fetch(process_key(context.request),
                                     [payload](Result<TaskQueue::Payload> result) { payload->set(std::move(result)); });
  if (!fetch) co_return error_response(fetch.error());
  // Neither a long-dead connection nor a worker that hung up may swallow a task.
  when_caller_leaves(context.request, [weak = std::weak_ptr(*queue), id = *fetch] {
    if (const auto left = weak.lock()) left->drop_fetch(id);
  });
  auto result = co_await payload->get();
  if (!result) co_return error_response(result.error());
  co_return Response{.content_type = std::string(kBytesType), .shared_body = std::move(*result)};
}

awaitable<Response> answer_task(const AppRoutes& wiring, Context& context) {
  const auto queue = queue_for_worker(wiring, context);
  if (!queue) co_return error_response(queue.error());
  const auto taken = (*queue)->answer(process_key(context.request), std::move(context.request.body));
  if (!taken) co_return error_response(taken.error());
  co_return Response{};
}

}  // namespace

void add_task_routes(RouteTable& table, AppRoutes wiring) {
  const Parameter key{Parameter::In::query, "process_key", "APP_MESH_PROCESS_KEY of the worker's environment", false};
  const Parameter key_header{Parameter::In::header, "X-AppMesh-Process-Key", "The same, instead of the query", false};
  const Answer missing{404, "No such application"};
  const Answer stale{412, "Process key mismatch: wrong, or of a run that has ended"};
  const Answer not_allowed{403, "The caller may not edit this application"};
  table.add({.method = Method::post,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::permission("app-run-task"),
             .handler = [wiring](Context& context) { return send_task(wiring, context); },
             .summary = "Give a task to a process of the application and wait for its answer",
             .tag = "tasks",
             .parameters = {{Parameter::In::query, "timeout", "1 to 259200 seconds or a duration, default 300"}},
             .request_type = std::string(kBytesType),
             .answers = {{200, "What the process answered", std::string(kBytesType)},
                         {400, "No process running"},
                         not_allowed,
                         missing,
                         {408, "Nobody answered in time; the message says whether a process ever fetched a task"},
                         {413, "More than 64 MiB"},
                         {417, "The process ended, or the task was cancelled"},
                         {503, "The queue is full"}}});
  table.add({.method = Method::del,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::permission("app-run-task"),
             .handler = [wiring](Context& context) { return cancel_task(wiring, context); },
             .summary = "Cancel the tasks that processes work on, or the first that waits",
             .tag = "tasks",
             .answers = {{200, "Cancelled: its caller gets 417"}, {208, "No task was active"}, not_allowed, missing}});
  table.add({.method = Method::get,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::free(),
             .handler = [wiring](Context& context) { return fetch_task(wiring, context); },
             .summary = "A worker waits for its next task",
             .tag = "tasks",
             .parameters = {key, key_header},
             .answers = {{200, "The payload; the same again until it is answered", std::string(kBytesType)},
                         missing,
                         stale,
                         {417, "The process ended or was replaced"},
                         {503, "A newer fetch of the same process took its place"}}});
  table.add({.method = Method::put,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::free(),
             .handler = [wiring](Context& context) { return answer_task(wiring, context); },
             .summary = "A worker answers its task",
             .tag = "tasks",
             .parameters = {key, key_header},
             .request_type = std::string(kBytesType),
             .answers = {{200, "The caller has it", ""},
                         missing,
                         stale,
                         {413, "More than 64 MiB"},
                         {417, "Nobody waits for it any more"}}});
}

}  // namespace appmesh::api

// Tasks: docs/wire.md#tasks. The queue of an app hangs on its published picture, so nothing here hops to
// the engine thread. Callers are users; workers are known by their process key alone.
#include <charconv>
#include <chrono>

#include <fmt/format.h>

#include "api/app_access.h"
#include "api/app_routes.h"
#include "api/call.h"
#include "api/query_numbers.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;
using engine::TaskQueue;

constexpr std::int64_t kDefaultTimeout = 300;
constexpr std::int64_t kMaxTimeout = 259'200;  // 3 days
constexpr std::string_view kBytesType = "application/octet-stream";

void when_peer_leaves(const Request& request, std::move_only_function<void()> left) {
  if (request.when_peer_leaves) request.when_peer_leaves(std::move(left));
}

Result<engine::AppViewPtr> app_for_caller(const AppRoutes& wiring, const Context& context) {
  return find_app(wiring.engine.directory(), wiring.users, *context.principal, context.variable("name"),
                  core::Access::write);
}

void send_task(const AppRoutes& wiring, const std::shared_ptr<Call>& call) {
  Request& request = call->context.request;
  const auto app = app_for_caller(wiring, call->context);
  if (!app) return call->reply(error_response(app.error()));
  const auto& queue = (*app)->tasks;
  const auto timeout = query_number(request, "timeout", {1, kMaxTimeout, kDefaultTimeout});
  if (!timeout) return call->reply(error_response(timeout.error()));

  if (request.right) {
    const auto present = request.right->narrow(wiring.engine.directory(), call->context.variable("name"),
                                               (*app)->generation, core::Access::write);
    if (!present) return call->reply(error_response(present.error()));
  }
  const auto task = queue->submit(std::move(request.body), [call](Result<std::string> result) {
    call->reply(result ? Response{.content_type = std::string(kBytesType), .body = std::move(*result)}
                       : error_response(result.error()));
  });
  if (!task) return call->reply(error_response(task.error()));
  const std::weak_ptr<TaskQueue> weak = queue;
  call->when_lost = WhenLost(request.right, [weak, id = *task, waiting = std::weak_ptr(call)](const Error& why) {
    if (const auto refused = waiting.lock()) refused->reply(error_response(why));
    if (const auto left = weak.lock()) left->abandon(id);
  });
  when_peer_leaves(request, [weak, id = *task, gone = std::weak_ptr(call)] {
    if (const auto left = weak.lock()) left->abandon(id);
    if (const auto waiting = gone.lock()) {
      waiting->reply(error_response({ErrorKind::expectation_failed, "The caller has gone", {}}));
    }
  });
  call->expire_after(std::chrono::seconds(*timeout), [weak, id = *task] {
    if (const auto late = weak.lock()) late->expire(id);
  });
}

awaitable<Response> cancel_task(const AppRoutes& wiring, Context& context) {
  const auto app = app_for_caller(wiring, context);
  if (!app) co_return error_response(app.error());
  if (!(*app)->tasks->cancel())
    co_return message_response("No task is active", http_status(ErrorKind::already_reported));
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

// Published clients name none: they have slot 0 alone. Looked at before the key, so that a client learns with any key
// whether there are slots: a slot that there is not is then 400, and 412 with a daemon that does not know the word.
Result<engine::SlotId> slot(const Request& request) {
  const auto text = request.query_value("slot");
  if (!text) return engine::SlotId{0};
  engine::SlotId id = 0;
  const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), id);
  if (problem != std::errc{} || end != text->data() + text->size() || id >= engine::kMaxSlots)
    return fail(ErrorKind::invalid_argument, fmt::format("slot: a number from 0 to {}", engine::kMaxSlots - 1));
  return id;
}

void fetch_task(const AppRoutes& wiring, const std::shared_ptr<Call>& call) {
  const auto queue = queue_for_worker(wiring, call->context);
  if (!queue) return call->reply(error_response(queue.error()));
  const Request& request = call->context.request;
  const auto slot_id = slot(request);
  if (!slot_id) return call->reply(error_response(slot_id.error()));
  const auto fetch = (*queue)->fetch(process_key(request), *slot_id, [call](Result<TaskQueue::Payload> payload) {
    call->reply(payload ? Response{.content_type = std::string(kBytesType), .shared_body = std::move(*payload)}
                        : error_response(payload.error()));
  });
  if (!fetch) return call->reply(error_response(fetch.error()));
  // Neither a long-dead connection nor a worker that hung up may swallow a task.
  when_peer_leaves(request, [weak = std::weak_ptr(*queue), id = *fetch] {
    if (const auto left = weak.lock()) left->drop_fetch(id);
  });
}

Response take_answer(const AppRoutes& wiring, Context& context) {
  const auto queue = queue_for_worker(wiring, context);
  if (!queue) return error_response(queue.error());
  const auto slot_id = slot(context.request);
  if (!slot_id) return error_response(slot_id.error());
  const auto taken = (*queue)->answer(process_key(context.request), *slot_id, std::move(context.request.body));
  return taken ? Response{} : error_response(taken.error());
}

// The worker's next fetch has mostly come along. What became of its answer is told together with the next task when
// that comes at once: otherwise each task would wake the worker twice.
void answer_task(const AppRoutes& wiring, const std::shared_ptr<Call>& call) {
  Response response = take_answer(wiring, call->context);
  response.patient = true;
  call->reply(std::move(response));
}

}  // namespace

void add_task_routes(RouteTable& table, AppRoutes wiring) {
  const Parameter key{Parameter::In::query, "process_key", "APP_MESH_PROCESS_KEY of the worker's environment", false};
  const Parameter key_header{Parameter::In::header, "X-AppMesh-Process-Key", "The same, instead of the query", false};
  const Parameter slot_parameter{Parameter::In::query, "slot",
                                 "0 to 63, default 0: each is a worker to itself, with a task of its own", false};
  const Answer missing{404, "No such application"};
  const Answer stale{412, "Process key mismatch: wrong, or of a run that has ended"};
  const Answer no_slot{400, "There is no such slot"};
  const Answer not_allowed{403, "The caller may not edit this application"};
  table.add({.method = Method::post,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::permission("app-run-task"),
             .direct = [wiring](const std::shared_ptr<Call>& call) { send_task(wiring, call); },
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
                         {503, "The queue is full"}},
             .lasts = true});
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
             .direct = [wiring](const std::shared_ptr<Call>& call) { fetch_task(wiring, call); },
             .summary = "A worker waits for its next task",
             .tag = "tasks",
             .parameters = {key, key_header, slot_parameter},
             .answers = {{200, "The payload; the same again until it is answered", std::string(kBytesType)},
                         no_slot,
                         missing,
                         stale,
                         {417, "The process ended or was replaced"},
                         {503, "A newer fetch of the same process and slot took its place"}},
             .lasts = true});
  table.add({.method = Method::put,
             .pattern = "/appmesh/app/{name}/task",
             .requirement = Requirement::free(),
             .direct = [wiring](const std::shared_ptr<Call>& call) { answer_task(wiring, call); },
             .summary = "A worker answers its task",
             .tag = "tasks",
             .parameters = {key, key_header, slot_parameter},
             .request_type = std::string(kBytesType),
             .answers = {{200, "The caller has it", ""},
                         no_slot,
                         missing,
                         stale,
                         {413, "More than 64 MiB"},
                         {417, "Nobody waits for it any more"}}});
}

}  // namespace appmesh::api

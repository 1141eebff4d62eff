#include "api/pty_routes.h"

#include <algorithm>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>

#include "api/app_access.h"
#include "api/on_engine.h"
#include "api/pty_session.h"
#include "api/query_numbers.h"

namespace appmesh::api {
namespace {

using boost::asio::awaitable;

constexpr std::int64_t kMaxSide = 10'000;
constexpr std::size_t kMaxTermBytes = 64;
constexpr std::size_t kMaxCommandBytes = 2048;
constexpr std::chrono::seconds kLifetime{259'200};  // 3 days, as any on-demand run
constexpr std::string_view kStarted = "shell started";
constexpr std::string_view kAttached = "shell attached";
constexpr std::string_view kEnded = "shell ended";
constexpr std::string_view kLeft = "shell left by its user";
constexpr std::string_view kHandedOver = "shell left to the next daemon";
constexpr std::string_view kTaken = "shell taken from its user";

std::string_view action_of(SocketEnd why) {
  switch (why) {
    case SocketEnd::by_daemon:
      return kHandedOver;
    case SocketEnd::by_right:
      return kTaken;
    default:
      return kLeft;
  }
}

bool is_terminal_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTermBytes && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '+' || c == '_';
  });
}

Result<engine::OnDemandRequest> read_request(const Request& request, const std::string& owner) {
  engine::OnDemandRequest run;
  const auto rows = query_number(request, "rows", {1, kMaxSide, 24});
  if (!rows) return std::unexpected(rows.error());
  const auto columns = query_number(request, "columns", {1, kMaxSide, 80});
  if (!columns) return std::unexpected(columns.error());
  run.terminal = platform::TerminalSize{static_cast<std::uint16_t>(*rows), static_cast<std::uint16_t>(*columns)};
  const std::string term(request.query_value("term").value_or("xterm-256color"));
  if (!is_terminal_name(term)) return fail(ErrorKind::invalid_argument, "query 'term': no name of a terminal");
  const std::string command(request.query_value("command").value_or(""));
  if (command.size() >= kMaxCommandBytes || command.find('\0') != std::string::npos)
    return fail(ErrorKind::invalid_argument, "query 'command': longer than 2047 bytes, or with a zero byte");
  run.definition.command = command;
  run.definition.description = "shell";
  run.definition.owner = owner;
  run.definition.session_login = true;
  run.definition.env["TERM"] = term;
  run.lifetime = kLifetime;
  return run;
}

// What is noted of one visit to a terminal.
struct Visit {
  const PtyRoutes& wiring;
  security::AuditEvent event;

  void note(std::string_view action, std::optional<int> exit_code = std::nullopt) {
    event.action = action;
    event.exit_code = exit_code;
    wiring.audit.note(event);
  }
};

std::string ending(const Result<engine::FinishedRun>& finished) {
  if (finished) return wire::write_json(boost::json::object{{"exit_code", finished->return_code}});
  return wire::write_json(boost::json::object{{"error", finished.error().message}});
}

// Asks for a run, or for an older one; `ask` is given both answers to come.
template <typename Ask>
awaitable<Response> visit(const PtyRoutes& wiring, Context& context, std::string_view action, Ask ask) {
  auto os_user = wiring.os_user(context.principal->as_owner);
  if (!os_user) co_return error_response(os_user.error());
  auto visit = std::make_shared<Visit>(wiring, security::AuditEvent{.action = {},
                                                                    .user = context.principal->user,
                                                                    .peer = context.request.peer,
                                                                    .app = {},
                                                                    .run_id = {},
                                                                    .os_user = std::move(*os_user),
                                                                    .exit_code = {}});
  const auto ticket = std::make_shared<engine::RunTicket>();
  const boost::asio::any_io_executor executor = co_await boost::asio::this_coro::executor;
  auto session = std::make_shared<PtySession>(executor, [visit, ticket](SocketEnd why) {
    visit->note(action_of(why));
    if (why != SocketEnd::by_daemon)
      visit->wiring.engine.remove_app(ticket->app, ticket->generation, true, [](Result<void>) {});
  });
  engine::Done<engine::FinishedRun> finished = [weak = std::weak_ptr(session), executor, visit,
                                                ticket](Result<engine::FinishedRun> result) {
    if (result) visit->wiring.engine.remove_app(ticket->app, ticket->generation, true, [](Result<void>) {});
    boost::asio::post(executor, [weak, visit, result = std::move(result)] {
      if (result) visit->note(kEnded, result->return_code);
      if (const auto here = weak.lock()) here->finish(ending(result));
    });
  };
  auto begun = co_await on_engine<engine::RunTicket>([&](auto done) { ask(std::move(done), std::move(finished)); });
  if (!begun) co_return error_response(begun.error());
  if (!begun->terminal) co_return error_response({ErrorKind::internal, "the run has no terminal", {}});
  *ticket = *begun;
  ticket->terminal.reset();
  visit->event.app = begun->app;
  visit->event.run_id = begun->run_id;
  visit->note(action);
  session->open(std::move(*begun->terminal));
  session->tell(wire::write_json(
      boost::json::object{{"name", begun->app}, {"process_uuid", begun->run_id}, {"os_user", visit->event.os_user}}));
  Response response;
  response.status = 101;
  response.socket = std::move(session);
  co_return response;
}

awaitable<Response> open_terminal(const PtyRoutes& wiring, Context& context) {
  if (!context.request.wants_socket)
    co_return message_response(fmt::format("Open it as a WebSocket with the sub-protocol {}", kSocketProtocol), 426);
  if (const auto name = context.request.query_value("attach")) {
    const auto app = wiring.engine.directory().find(std::string(*name));
    if (app == nullptr || !app->on_demand || app->definition->owner != context.principal->as_owner)
      co_return error_response(no_such_app(*name));
    co_return co_await visit(wiring, context, kAttached, [&](auto attached, auto finished) {
      wiring.engine.attach_terminal(std::string(*name), app->generation, std::move(attached), std::move(finished));
    });
  }
  auto run = read_request(context.request, context.principal->as_owner);
  if (!run) co_return error_response(run.error());
  co_return co_await visit(wiring, context, kStarted, [&](auto started, auto finished) {
    wiring.engine.run(std::move(*run), std::move(started), std::move(finished));
  });
}

}  // namespace

void add_pty_routes(RouteTable& table, PtyRoutes wiring) {
  table.add({.method = Method::get,
             .pattern = "/appmesh/pty",
             .requirement = Requirement::permission("app-run-pty"),
             .handler = [wiring](Context& context) { return open_terminal(wiring, context); },
             .summary = "A terminal on this host, as a WebSocket: binary messages are its bytes",
             .tag = "on-demand runs",
             .parameters = {{Parameter::In::query, "rows", "of the terminal, default 24"},
                            {Parameter::In::query, "columns", "of the terminal, default 80"},
                            {Parameter::In::query, "term", "kind of terminal, default xterm-256color"},
                            {Parameter::In::query, "command",
                             "what a login shell of the OS user runs; default: the "
                             "shell itself"},
                            {Parameter::In::query, "attach", "name of a run that a restarted daemon has kept"}},
             .answers = {{101, "The terminal; texts are JSON: name and process_uuid first, exit_code last", ""},
                         {400, "A parameter is wrong, or the start failed"},
                         {404, "attach: there is no such run with a terminal"},
                         {409, "attach: somebody is there already"},
                         {426, "The request does not ask for a WebSocket of the sub-protocol appmesh-pty"},
                         {503, "Too many requests of this user wait already"}},
             .lasts = true});
}

}  // namespace appmesh::api

// On-demand runs: docs/wire.md#on-demand.
#include <optional>

#include <fmt/format.h>

#include "api/app_access.h"
#include "api/app_edit.h"
#include "api/app_json.h"
#include "api/app_routes.h"
#include "api/long_wait.h"
#include "api/on_engine.h"
#include "api/query_numbers.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;

constexpr std::int64_t kDefaultTimeout = 172'800;   // 2 days
constexpr std::int64_t kDefaultLifetime = 216'000;  // 2.5 days
constexpr std::int64_t kMaxSeconds = 259'200;       // 3 days
constexpr std::uint64_t kMaxSyncOutput = 64ULL * 1024 * 1024;

Result<void> read_times(const Request& request, engine::OnDemandRequest& run) {
  const auto timeout = query_number(request, "timeout", {0, kMaxSeconds, kDefaultTimeout});
  if (!timeout) return std::unexpected(timeout.error());
  const auto lifetime =
      query_number(request, "lifecycle", {*timeout, kMaxSeconds, std::max(kDefaultLifetime, *timeout)});
  if (!lifetime) return std::unexpected(lifetime.error());
  if (*lifetime == 0) return fail(ErrorKind::invalid_argument, "query 'lifecycle': must not be 0");
  run.timeout = std::chrono::seconds(*timeout);
  run.lifetime = std::chrono::seconds(*lifetime);
  return {};
}

// The name of a registered app asks for a copy of it: only metadata may differ, and single variables of env and
// sec_env. It runs on the caller's account, so the secrets of another owner are not copied.
Result<void> merge_copy(const engine::AppView& source, const security::Principal& caller,
                        engine::OnDemandRequest& run) {
  core::AppDefinition& given = run.definition;
  if (!given.command.empty())
    return fail(
        ErrorKind::invalid_argument,
        fmt::format("field 'command': <{}> is a registered application, its command cannot be replaced", given.name));
  core::AppDefinition copy = *source.definition;
  if (!owns(caller, copy)) copy.sec_env.reset();
  if (given.metadata.kind() != core::Metadata::Kind::none) copy.metadata = std::move(given.metadata);
  for (auto& [variable, value] : given.env) copy.env[variable] = std::move(value);
  if (given.sec_env) {
    if (!copy.sec_env) copy.sec_env.emplace();
    for (auto& [variable, value] : *given.sec_env) (*copy.sec_env)[variable] = std::move(value);
  }
  run.definition = std::move(copy);
  run.numbered_name = true;
  return {};
}

Result<engine::OnDemandRequest> read_run(const AppRoutes& wiring, const Context& context,
                                         std::vector<core::UnknownField>& unknown) {
  engine::OnDemandRequest run;
  if (auto times = read_times(context.request, run); !times) return std::unexpected(times.error());
  const auto json = parse_json_object(context.request);
  if (!json) return std::unexpected(json.error());
  auto parsed = core::parse_definition(*json, context.request.body);
  if (!parsed) return std::unexpected(parsed.error());
  unknown = std::move(parsed->unknown_fields);
  run.definition = std::move(parsed->definition);

  const std::string& name = run.definition.name;
  const auto existing = name.empty() ? nullptr : wiring.engine.directory().find(name);
  if (existing != nullptr && !existing->on_demand) {
    const auto readable =
        find_app(wiring.engine.directory(), wiring.users, *context.principal, name, core::Access::read);
    if (!readable) return std::unexpected(readable.error());
    if (auto merged = merge_copy(**readable, *context.principal, run); !merged) return std::unexpected(merged.error());
  } else if (auto program = core::require_program(run.definition); !program) {
    return std::unexpected(program.error());
  }
  if (!run.definition.docker_image.empty())
    return fail(ErrorKind::invalid_argument, "field 'docker_image': containers cannot be run on demand");
  if (run.definition.command.empty()) return fail(ErrorKind::invalid_argument, "field 'command': required");
  run.definition.owner = context.principal->as_owner;
  return run;
}

// What is noted of a shell line: it is as good as a shell, so it is audited as one. The line itself is not: it may hold
// a secret. On the engine thread once the run is asked for.
class ShellLine {
 public:
  // Null for other runs.
  static std::shared_ptr<ShellLine> of(const AppRoutes& wiring, const Context& context,
                                       const engine::OnDemandRequest& run) {
    if (!run.definition.shell && !run.definition.session_login) return nullptr;
    return std::make_shared<ShellLine>(wiring, context);
  }
  ShellLine(const AppRoutes& wiring, const Context& context)
      : trail_(wiring.audit),
        event_{.action = {},
               .user = context.principal->user,
               .peer = context.request.peer,
               .app = {},
               .run_id = {},
               .os_user = wiring.os_user(context.principal->as_owner).value_or(std::string()),
               .exit_code = {}} {}

  void started(const Result<engine::RunTicket>& ticket) {
    if (!ticket) return;
    event_.app = ticket->app;
    event_.run_id = ticket->run_id;
    note("shell line started");
  }
  void finished(const Result<engine::FinishedRun>& run) {
    if (event_.run_id.empty()) return;
    if (run) event_.exit_code = run->return_code;
    note(run ? "shell line ended" : "shell line removed");
  }

 private:
  void note(std::string_view action) {
    event_.action = action;
    trail_.note(event_);
  }

  security::AuditTrail& trail_;
  security::AuditEvent event_;
};

awaitable<Response> run_async(const AppRoutes& wiring, Context& context) {
  std::vector<core::UnknownField> unknown;
  auto run = read_run(wiring, context, unknown);
  if (!run) co_return error_response(run.error());
  const auto line = ShellLine::of(wiring, context, *run);
  const auto ticket = co_await on_engine<engine::RunTicket>([&](auto done) {
    if (!line) return wiring.engine.run(std::move(*run), std::move(done));
    wiring.engine.run(
        std::move(*run),
        [line, done = std::move(done)](Result<engine::RunTicket> started) mutable {
          line->started(started);
          done(std::move(started));
        },
        [line](const Result<engine::FinishedRun>& finished) { line->finished(finished); });
  });
  if (!ticket) co_return error_response(ticket.error());
  Response response = json_response(boost::json::object{{"name", ticket->app}, {"process_uuid", ticket->run_id}});
  name_unknown(response, unknown);
  co_return response;
}

awaitable<Response> run_sync(const AppRoutes& wiring, Context& context) {
  std::vector<core::UnknownField> unknown;
  auto run = read_run(wiring, context, unknown);
  if (!run) co_return error_response(run.error());
  const auto line = ShellLine::of(wiring, context, *run);
  LongWait<engine::FinishedRun> wait(context.request);
  // Who stops waiting leaves a run behind that goes on to its end, and only its output goes with its application.
  const auto ended = [&engine = wiring.engine, slot = wait.slot(), line](Result<engine::FinishedRun> end) {
    if (line) line->finished(end);
    const auto ticket = end ? std::optional(end->ticket) : std::nullopt;
    if (!slot->set(std::move(end)) && ticket)
      engine.remove_app(ticket->app, ticket->generation, true, [](Result<void>) {});
  };
  engine::Done<engine::RunTicket> started;
  if (line) started = [line](const Result<engine::RunTicket>& ticket) { line->started(ticket); };
  wiring.engine.run_and_wait(std::move(*run), ended, std::move(started));
  const auto finished = co_await wait.get();
  if (!finished) co_return error_response(finished.error());
  auto output = wiring.engine.outputs().read(finished->ticket.app, finished->run_number, 0, kMaxSyncOutput);
  // Its caller has all there is: nobody waits for the removal.
  wiring.engine.discard_run(finished->ticket.app, finished->ticket.generation);

  Response response = text_response(output ? std::move(output->bytes) : std::string{});
  name_unknown(response, unknown);
  response.add_header("X-Exit-Code", std::to_string(finished->return_code));
  if (output && output->end > 0) response.add_header("X-Output-Position", std::to_string(output->end));
  co_return response;
}

}  // namespace

void add_run_routes(RouteTable& table, AppRoutes wiring) {
  const std::vector<Parameter> times{
      {Parameter::In::query, "timeout", "seconds or duration after which the run is stopped, default 172800, 0: never"},
      {Parameter::In::query, "lifecycle",
       "seconds or duration after which its application is removed, default 216000"}};
  const Answer refused{400, "A field is wrong, or the start failed; the message says which"};
  table.add({.method = Method::post,
             .pattern = "/appmesh/app/run",
             .requirement = Requirement::permission("app-run-async"),
             .handler = [wiring](Context& context) { return run_async(wiring, context); },
             .summary = "Start a command and answer at once",
             .tag = "on-demand runs",
             .parameters = times,
             .request_type = std::string(kJsonType),
             .answers = {{200, "name and process_uuid of the run"}, refused}});
  table.add({.method = Method::post,
             .pattern = "/appmesh/app/syncrun",
             .requirement = Requirement::permission("app-run-sync"),
             .handler = [wiring](Context& context) { return run_sync(wiring, context); },
             .summary = "Run a command and answer when it has ended",
             .tag = "on-demand runs",
             .parameters = times,
             .request_type = std::string(kJsonType),
             .answers = {{200, "Its output; X-Exit-Code is its exit code", std::string(kTextType)},
                         refused,
                         {503, "Too many requests of this user wait already"}},
             .lasts = true});
}

}  // namespace appmesh::api

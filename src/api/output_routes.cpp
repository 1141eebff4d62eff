// Output of a run, by byte position: docs/wire.md#output.
#include <algorithm>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fmt/format.h>

#include "api/app_access.h"
#include "api/app_routes.h"
#include "api/long_wait.h"
#include "api/query_numbers.h"
#include "core/text.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;

constexpr std::int64_t kMaxBytes = 3 * 1024 * 1024;
constexpr std::int64_t kMinBytes = 1024;
constexpr std::int64_t kMaxWaitSeconds = 300;       // whoever wants to wait longer asks again
constexpr std::int64_t kMostInstances = 1'000'000;  // a number that is too high is no instance, and said so

struct OutputQuery {
  std::uint64_t position = 0;
  std::uint64_t index = 0;
  std::uint32_t instance = 0;
  std::uint64_t max_bytes = kMaxBytes;
  std::chrono::seconds timeout{0};
  std::string run_id;
  bool html = false;
  bool json = false;
};

bool has_text(const Request& request, std::string_view name) {
  const auto value = request.query_value(name);
  return value && !value->empty();
}

Result<OutputQuery> read_query(const Request& request) {
  const auto position = query_number(request, "stdout_position", {.minimum = 0, .fallback = 0});
  const auto index = query_number(request, "stdout_index", {.minimum = 0, .fallback = 0});
  const auto max_bytes = query_number(request, "stdout_maxsize", {kMinBytes, kMaxBytes, kMaxBytes});
  const auto timeout = query_number(request, "timeout", {.minimum = 0, .fallback = 0});
  const auto instance = query_number(request, "instance", {.minimum = 0, .maximum = kMostInstances, .fallback = 0});
  for (const auto* number : {&position, &index, &max_bytes, &timeout, &instance})
    if (!*number) return std::unexpected(number->error());
  OutputQuery query;
  query.position = static_cast<std::uint64_t>(*position);
  query.index = static_cast<std::uint64_t>(*index);
  query.instance = static_cast<std::uint32_t>(*instance);
  query.max_bytes = static_cast<std::uint64_t>(*max_bytes);
  query.timeout = std::chrono::seconds(std::min(*timeout, kMaxWaitSeconds));
  query.run_id = request.query_value("process_uuid").value_or("");
  query.html = has_text(request, "html");
  query.json = has_text(request, "json");
  return query;
}

std::string escape_html(std::string_view text) {
  std::string html = "<pre>";
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      default:
        html += c;
    }
  }
  return html + "</pre>";
}

Response gone() {
  return Response{.status = http_status(ErrorKind::expectation_failed)};
}

Response answer(const OutputQuery& query, const engine::AppView& app, runtime::OutputChunk chunk) {
  Response response;
  if (query.json) {
    response = json_response(boost::json::array{boost::json::object{{"index", query.index}, {"stdout", chunk.bytes}}});
  } else if (query.html) {
    response =
        Response{.content_type = "text/html; charset=utf-8", .body = escape_html(core::repair_utf8(chunk.bytes))};
  } else {
    response = text_response(std::move(chunk.bytes));
  }
  if (chunk.end > 0) response.add_header("X-Output-Position", std::to_string(chunk.end));
  // Whoever sees the exit code stops asking: it is said only when nothing is left to read.
  if (query.index == 0 && app.run_complete && app.return_code && chunk.end == chunk.size)
    response.add_header("X-Exit-Code", std::to_string(*app.return_code));
  return response;
}

Result<void> watch_right(const engine::AppDirectory& directory, const Request& request, const std::string& name,
                         const engine::AppView& app) {
  if (!request.right) return {};
  return request.right->narrow(directory, name, app.generation, core::Access::read);
}

// A chunk that ends inside a character ends before it instead, and the rest of it is in the next one: readers of text
// turn each chunk into characters of its own. Nothing is lost for readers of bytes. What is no character stays, and so
// does the end of a run whose output is complete. Returns how many bytes were held back.
template <typename IsComplete>
std::size_t end_at_character(runtime::OutputChunk& chunk, IsComplete is_complete) {
  const std::size_t begun = core::incomplete_tail(chunk.bytes);
  if (begun == 0 || (chunk.end == chunk.size && is_complete())) return 0;
  chunk.bytes.resize(chunk.bytes.size() - begun);
  chunk.end -= begun;
  return begun;
}

awaitable<Response> read_output(const AppRoutes& wiring, Context& context) {
  const auto query = read_query(context.request);
  if (!query) co_return error_response(query.error());
  const std::string& public_name = context.variable("name");
  const auto& directory = wiring.engine.directory();
  auto app = find_app(directory, wiring.users, *context.principal, public_name, core::Access::read);
  if (!app) co_return error_response(app.error());
  if (query->instance > 0) *app = directory.find_instance(public_name, query->instance);
  if (*app == nullptr) co_return gone();
  const std::string name = (*app)->definition->name;  // that of the instance

  if (query->index > 0) {
    if (query->index > (*app)->kept_runs.size()) co_return gone();
    auto chunk =
        wiring.engine.outputs().read(name, (*app)->kept_runs[query->index - 1], query->position, query->max_bytes);
    if (!chunk) co_return gone();
    end_at_character(*chunk, [] { return true; });
    co_return answer(*query, **app, std::move(*chunk));
  }
  if (!query->run_id.empty() && query->run_id != (*app)->run_id) co_return gone();
  if ((*app)->run_number == 0) {
    if (query->position > 0) co_return gone();
    co_return text_response("");
  }
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + query->timeout;
  std::uint64_t wait_behind = query->position;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() > 0 && !(*app)->run_complete) {
      // Waits for this run even when the app starts another one meanwhile.
      if (auto present = watch_right(directory, context.request, public_name, **app); !present)
        co_return error_response(present.error());
      LongWait<void> wait(context.request);
      const auto id =
          wiring.engine.wait_output(name, (*app)->run_id, wait_behind, left, [slot = wait.slot()] { slot->set({}); });
      if (const auto waited = co_await wait.get(); !waited) {
        wiring.engine.end_wait((*app)->run_id, id);
        co_return error_response(waited.error());
      }
      const auto after = directory.find_instance(public_name, query->instance);
      if (after == nullptr || after->generation != (*app)->generation)
        co_return error_response(no_such_app(public_name));
      // A run that was replaced while we waited still has its file: its last bytes are not lost to the one who waited.
      if (after->run_id == (*app)->run_id) *app = after;
    }
    // The picture of the app is older than the file read below: what it calls complete is all there.
    auto chunk = wiring.engine.outputs().read(name, (*app)->run_number, query->position, query->max_bytes);
    if (!chunk) {
      if (chunk.error().kind != ErrorKind::not_found) co_return gone();
      chunk = runtime::OutputChunk{};
      if (query->position > 0) co_return gone();
    }
    const std::size_t begun = end_at_character(*chunk, [&] {
      const auto present = directory.find_instance(public_name, query->instance);
      return (*app)->run_complete || present == nullptr || present->run_id != (*app)->run_id;
    });
    // The first bytes of a character alone are nothing to answer with: whoever waits would ask again at once.
    if (begun == 0 || !chunk->bytes.empty() || Clock::now() >= deadline)
      co_return answer(*query, **app, std::move(*chunk));
    wait_behind = chunk->end + begun;
  }
}

}  // namespace

void add_output_routes(RouteTable& table, AppRoutes wiring) {
  table.add(
      {.method = Method::get,
       .pattern = "/appmesh/app/{name}/output",
       .requirement = Requirement::permission("app-output-view"),
       .handler = [wiring](Context& context) { return read_output(wiring, context); },
       .summary = "Output of the current run, or of an older one",
       .tag = "applications",
       .parameters = {{Parameter::In::query, "stdout_position", "byte offset to read from, default 0"},
                      {Parameter::In::query, "stdout_index", "0 is the current run, 1 the one before it"},
                      {Parameter::In::query, "instance", "which instance, default 0"},
                      {Parameter::In::query, "stdout_maxsize", "1024 to 3145728 bytes, default 3145728"},
                      {Parameter::In::query, "process_uuid", "the run that is meant"},
                      {Parameter::In::query, "timeout",
                       "seconds or a duration to wait for output past the position, at most 300"},
                      {Parameter::In::query, "html", "any value: as HTML"},
                      {Parameter::In::query, "json", "any value: as an array of {index, stdout}"}},
       .answers = {{200, "The bytes; X-Output-Position is the next offset, X-Exit-Code is there when the run is over",
                    std::string(kTextType)},
                   {403, "The caller may not view this application"},
                   {404, "No such application"},
                   {417, "Another run, or a position or index that does not exist", ""},
                   {503, "Too many requests of this user wait already"}},
       .lasts = true});
}

}  // namespace appmesh::api

// When would this run? docs/wire.md#own-fields: a plan for a definition that nobody registers.
#include <boost/json/array.hpp>

#include "api/app_json.h"
#include "api/app_routes.h"
#include "api/on_worker.h"
#include "platform/clock.h"

namespace appmesh::api {

namespace {

using boost::asio::awaitable;

constexpr std::int64_t kDefaultCount = 5;

Result<std::int64_t> read_count(const boost::json::object& json) {
  const auto* count = json.if_contains("count");
  if (count == nullptr || count->is_null()) return kDefaultCount;
  if (!count->is_int64() && !count->is_uint64())
    return fail(ErrorKind::invalid_argument, "field 'count': must be an integer");
  boost::system::error_code out_of_range;
  const auto number = count->to_number<std::int64_t>(out_of_range);
  return out_of_range ? 0 : number;  // 0 is out of range too, and preview() says so
}

awaitable<Response> preview_schedule(const AppRoutes& wiring, Context& context) {
  const auto json = parse_json_object(context.request);
  if (!json) co_return error_response(json.error());
  const auto count = read_count(*json);
  if (!count) co_return error_response(count.error());
  auto parsed = core::parse_definition(*json, context.request.body);
  if (!parsed) co_return error_response(parsed.error());
  std::erase_if(parsed->unknown_fields, [](const auto& field) { return field.name == "count"; });
  parsed->definition.register_time = 0;  // as if it were registered now
  // A thousand rare dates take milliseconds to find.
  const auto starts = co_await on_worker(
      wiring.worker, [definition = std::move(parsed->definition), count = *count, now = platform::wall_now(),
                      zone = wiring.engine.zone()] { return core::preview(definition, count, now, zone); });
  if (!starts) co_return error_response(starts.error());
  boost::json::array next;
  for (const std::int64_t start : *starts) next.emplace_back(start);
  Response response = json_response(boost::json::object{{"next", std::move(next)}});
  name_unknown(response, parsed->unknown_fields);
  co_return response;
}

}  // namespace

void add_schedule_routes(RouteTable& table, AppRoutes wiring) {
  table.add(
      {.method = Method::post,
       .pattern = "/appmesh/schedule/preview",
       .requirement = Requirement::permission("app-view"),
       .handler = [wiring](Context& context) { return preview_schedule(wiring, context); },
       .summary = "When an application with such a schedule would start, were it registered now",
       .tag = "applications",
       .request_type = std::string(kJsonType),
       .answers = {{200, "next: epoch seconds of the next starts, `count` of them (1 to 1000, default 5) or fewer"},
                   {400, "A field is wrong; the message names it"}}});
}

}  // namespace appmesh::api

#include "api/audit_routes.h"

#include <limits>

#include <appmesh/wire/json_text.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "api/on_worker.h"
#include "api/query_numbers.h"

namespace appmesh::api {
namespace {

constexpr std::int64_t kMaxEntries = 1000;
constexpr std::int64_t kDefaultEntries = 100;

boost::json::object to_json(const store::AuditEntry& entry) {
  boost::system::error_code malformed;
  boost::json::value record = wire::read_json(entry.what.record, malformed);
  return {{"id", entry.id},
          {"time", static_cast<double>(entry.what.time.time_since_epoch().count()) / 1e6},
          {"record", malformed ? boost::json::value(entry.what.record) : std::move(record)},
          {"previous", entry.previous},
          {"hash", entry.hash},
          // What the hash was made over: section "audit" of docs/shell.md.
          {"time_us", entry.what.time.time_since_epoch().count()},
          {"text", entry.what.record}};
}

boost::asio::awaitable<Response> list(const AuditRoutes& wiring, Context& context) {
  const auto limit = query_number(context.request, "limit", {1, kMaxEntries, kDefaultEntries});
  if (!limit) co_return error_response(limit.error());
  constexpr auto kNewest = std::numeric_limits<std::int64_t>::max();
  const auto before = query_number(context.request, "before", {0, kNewest, kNewest});
  if (!before) co_return error_response(before.error());
  const auto entries = co_await on_worker(wiring.worker, [&states = wiring.states, limit = *limit, before = *before] {
    states.flush();  // what was noted a moment ago belongs to the answer
    return states.audit_trail(static_cast<std::size_t>(limit), before);
  });
  if (!entries) co_return error_response(entries.error());
  boost::json::array shown;
  for (const auto& entry : *entries) shown.push_back(to_json(entry));
  co_return json_response(shown);
}

}  // namespace

void add_audit_routes(RouteTable& table, AuditRoutes wiring) {
  table.add({.method = Method::get,
             .pattern = "/appmesh/audit",
             .requirement = Requirement::permission("audit-view"),
             .handler = [wiring](Context& context) { return list(wiring, context); },
             .summary = "The audit trail, newest first: who opened a shell or ran a shell line, when, as which OS user",
             .tag = "Audit",
             .parameters = {{Parameter::In::query, "limit", "how many, 1..1000, default 100"},
                            {Parameter::In::query, "before", "only entries with a lower id"}},
             .answers = {{200, "Entries; each hash covers the entry and the hash before it"}}});
}

}  // namespace appmesh::api

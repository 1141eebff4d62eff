// audit: who opened shells and ran shell lines, oldest first, as a log is read. The daemon pages from the newest
// backwards and knows no filter, so both are turned here.
#include <algorithm>
#include <ctime>

#include <appmesh/wire/json_text.h>
#include <boost/json/object.hpp>
#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kDefaultTail = 20;
constexpr std::size_t kPage = 1000;      // the most that the daemon gives at once
constexpr std::size_t kMostPages = 101;  // it keeps 100,000 entries and few more

struct AuditOptions {
  std::string since, user, app;
  std::string format = "table";
  bool json = false;
  std::size_t tail = 0;  // 0: not given
};

struct Entry {
  App fields;  // as the daemon tells it
  App record;  // what was noted; empty when that is not JSON
};

Entry read_entry(json::value& value) {
  if (!value.is_object()) throw CliError(kFailed, "the server's answer is no audit trail");
  Entry entry{App(std::move(value.get_object())), {}};
  if (const json::value* record = entry.fields.json().if_contains("record"); record != nullptr && record->is_object()) {
    entry.record = App(record->get_object());
  }
  return entry;
}

// At most `limit`, newest first, all with a lower id than `before`.
std::vector<Entry> page_of(Client& client, std::size_t limit, std::optional<std::int64_t> before) {
  Request request;
  request.method = "GET";
  request.path = "/appmesh/audit";
  request.query.emplace_back("limit", std::to_string(limit));
  if (before) request.query.emplace_back("before", std::to_string(*before));
  const Response response = client.call(std::move(request));
  boost::system::error_code error;
  json::value list = wire::read_json(response.body, error);
  if (error || !list.is_array()) throw CliError(kFailed, "the server's answer is no audit trail");
  std::vector<Entry> page;
  for (json::value& value : list.get_array()) page.push_back(read_entry(value));
  return page;
}

bool matches(const Entry& entry, const AuditOptions& options) {
  return (options.user.empty() || entry.record.text("user") == options.user) &&
         (options.app.empty() || entry.record.text("app") == options.app);
}

// Newest first.
std::vector<Entry> find_entries(Client& client, const AuditOptions& options, std::optional<std::int64_t> since) {
  const std::size_t wanted = options.tail != 0 ? options.tail : since ? kPage * kMostPages : kDefaultTail;
  const bool all_match = !since && options.user.empty() && options.app.empty();
  const std::size_t limit = all_match ? std::min(wanted, kPage) : kPage;
  std::vector<Entry> found;
  std::optional<std::int64_t> before;
  for (std::size_t count = 0; count < kMostPages; ++count) {
    std::vector<Entry> page = page_of(client, limit, before);
    bool recent = false;
    for (Entry& entry : page) {
      const auto id = entry.fields.number("id");
      if (!id || (before && *id >= *before)) throw CliError(kFailed, "the server's answer is no audit trail");
      before = id;
      // Not the end of the search: the clock may have been set back between two entries.
      if (since && entry.fields.real("time").value_or(0) < static_cast<double>(*since)) continue;
      recent = true;
      if (!matches(entry, options)) continue;
      found.push_back(std::move(entry));
      if (found.size() == wanted) return found;
    }
    if (page.size() < limit || !recent) break;
  }
  return found;
}

Table audit_table(const std::vector<Entry>& entries) {
  Table table({{"TIME"}, {"USER"}, {"PEER"}, {"OS_USER"}, {"APP"}, {"EXIT"}, {"ACTION", 12}});
  for (const Entry& entry : entries) {
    const auto text = [&](std::string_view name) { return entry.record.text(name).value_or(""); };
    const auto code = entry.record.number("exit_code");
    const auto time = entry.fields.real("time");
    table.add({{time ? local_time(static_cast<std::int64_t>(*time)) : ""},
               {text("user")},
               {text("peer")},
               {text("os_user")},
               {text("app")},
               {code ? std::to_string(*code) : "", code.value_or(0) == 0 ? Style::kPlain : Style::kBad},
               {entry.record.text("action").value_or(entry.fields.text("text").value_or(""))}});
  }
  return table;
}

int audit(Context& context, const AuditOptions& options) {
  std::optional<std::int64_t> since;
  if (!options.since.empty()) {
    since = parse_since(options.since, std::time(nullptr));
    if (!since) throw CliError(kUsage, "--since " + options.since + " is no duration and no time");
  }
  std::vector<Entry> entries = find_entries(context.client(), options, since);
  std::ranges::reverse(entries);
  if (options.json || options.format == "json") {
    json::array list;
    for (Entry& entry : entries) list.emplace_back(std::move(entry.fields.json()));
    return write_output(pretty_json(list) + "\n") ? kOk : kFailed;
  }
  return write_output(audit_table(entries).render(output_width(), output_colour())) ? kOk : kFailed;
}

}  // namespace

void add_audit_command(CLI::App& root, Context& context) {
  add_command<AuditOptions>(
      root, context, "audit", "Who opened shells and ran shell lines, newest last",
      [](CLI::App& verb, AuditOptions& options) {
        verb.add_option("-n,--tail", options.tail,
                        fmt::format("only the last entries ({}; with --since: all)", kDefaultTail))
            ->check(CLI::Range(std::size_t{1}, kPage * (kMostPages - 1)));
        verb.add_option("--since", options.since,
                        "only entries since then: a duration (90s, 2h, PT10M) ago, or a local time (2025-01-31T08:00)");
        verb.add_option("--by", options.user, "only what this user did");
        verb.add_option("-a,--app", options.app, "only entries about this app");
        verb.add_flag("-j,--json", options.json, "as --format json: each entry whole, with its hash");
        verb.add_option("--format", options.format, "table or json")->check(CLI::IsMember({"table", "json"}));
      },
      audit);
}

}  // namespace appmesh::cli

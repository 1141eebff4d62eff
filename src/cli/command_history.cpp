#include <algorithm>
#include <ctime>

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

struct HistoryOptions {
  std::string app;
  std::string format = "table";
  int limit = 20;
  std::string before;
};

std::optional<double> number(const json::object& run, std::string_view name) {
  const json::value* value = run.if_contains(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  return value->to_number<double>();
}

std::string text(const json::object& run, std::string_view name) {
  const json::value* value = run.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

// Runs are often short: below a minute the fractions tell.
std::string duration_text(double seconds) {
  return seconds < 60 ? fmt::format("{:.3f}s", std::max(0.0, seconds))
                      : human_duration(static_cast<std::int64_t>(seconds));
}

Cell time_cell(std::optional<double> epoch) {
  return {epoch ? local_time(static_cast<std::int64_t>(*epoch)) : ""};
}

Table history_table(const json::array& runs, double now) {
  Table table({{"START"}, {"END"}, {"DURATION"}, {"PID"}, {"RETURN"}, {"MEMORY"}, {"CPU"}, {"REASON", 10}});
  for (const json::value& entry : runs) {
    if (!entry.is_object()) continue;
    const json::object& run = entry.get_object();
    const auto start = number(run, "start_time");
    const auto end = number(run, "end_time");
    const auto code = number(run, "return_code");
    const auto pid = number(run, "pid");
    const double memory = number(run, "max_rss_bytes").value_or(0);
    table.add({time_cell(start),
               time_cell(end),
               {start ? duration_text(end.value_or(now) - *start) : ""},
               {pid ? fmt::format("{:.0f}", *pid) : ""},
               {code ? fmt::format("{:.0f}", *code) : "", code.value_or(0) == 0 ? Style::kPlain : Style::kBad},
               {memory > 0 ? human_bytes(static_cast<std::int64_t>(memory)) : ""},
               {end ? duration_text(number(run, "cpu_seconds").value_or(0)) : ""},
               {text(run, "reason")}});
  }
  return table;
}

int history(Context& context, const HistoryOptions& options) {
  const json::array runs = context.client().app_runs(options.app, options.limit, options.before);
  if (options.format == "json") return write_output(pretty_json(runs) + "\n") ? kOk : kFailed;
  const double now = static_cast<double>(std::time(nullptr));
  return write_output(history_table(runs, now).render(output_width(), output_colour())) ? kOk : kFailed;
}

}  // namespace

void add_history_command(CLI::App& root, Context& context) {
  add_command<HistoryOptions>(
      root, context, "history", "Runs of an app, newest first: when, how long, how they ended",
      [](CLI::App& verb, HistoryOptions& options) {
        verb.add_option("-a,--app", options.app, "the app")->required();
        verb.add_option("--limit", options.limit, "how many at most (20)")->check(CLI::Range(1, 1000));
        verb.add_option("--before", options.before, "only runs started before this epoch second");
        verb.add_option("--format", options.format, "table or json")->check(CLI::IsMember({"table", "json"}));
      },
      history);
}

}  // namespace appmesh::cli

#include <ctime>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/app_options.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

struct PreviewOptions {
  ScheduleOptions schedule;
  int count = 5;
  bool json = false;
};

int schedule(Context& context, const PreviewOptions& options) {
  App app;
  set_schedule(app, options.schedule);
  const std::vector<std::int64_t> starts = context.client().preview_schedule(app, options.count);
  if (options.json) {
    const boost::json::object answer{{"next", boost::json::array(starts.begin(), starts.end())}};
    return write_output(pretty_json(answer) + "\n") ? kOk : kFailed;
  }
  if (starts.empty()) {
    tell("It would never start.");
    return kOk;
  }
  const std::time_t now = std::time(nullptr);
  Table table({{"NEXT"}, {"EPOCH"}, {"IN"}});
  for (const std::int64_t start : starts) {
    table.add({{local_time(start)}, {std::to_string(start)}, {human_duration(start > now ? start - now : 0)}});
  }
  return write_output(table.render(output_width(), output_colour())) ? kOk : kFailed;
}

}  // namespace

void add_schedule_command(CLI::App& root, Context& context) {
  add_command<PreviewOptions>(
      root, context, "schedule", "When would an app with such a schedule start? Registers nothing",
      [](CLI::App& verb, PreviewOptions& options) {
        add_schedule_options(verb, options.schedule);
        verb.add_option("-n,--count", options.count, "how many starts (5)")->check(CLI::Range(1, 1000));
        verb.add_flag("-j,--json", options.json, "the daemon's answer as JSON");
      },
      schedule);
}

}  // namespace appmesh::cli

#include <chrono>
#include <ctime>
#include <utility>

#include <boost/json/array.hpp>

#include "cli/app_table.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/terminal.h"
#include "cli/usage.h"

namespace appmesh::cli {
namespace {

constexpr const char* kClearScreen = "\033[H\033[2J\033[3J";

struct ViewOptions {
  std::string app;
  std::string format;
  int index = 0;
  bool long_lines = false;
  bool output = false;
  bool tree = false;
  bool follow = false;
  bool json = false;
};

int print_trees(const std::vector<App>& apps) {
  std::string out;
  for (const App& app : apps) {
    const auto tree = app.text("pstree");
    if (!tree) continue;
    if (apps.size() > 1) out += (out.empty() ? "" : "\n") + printable(app.name()) + ":\n";
    for (std::string_view rest = *tree; !rest.empty();) {
      const auto end = rest.find('\n');
      out += printable(rest.substr(0, end)) + "\n";
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
  }
  return write_output(out) ? kOk : kFailed;
}

std::string apps_text(const std::vector<App>& apps, const ViewOptions& options) {
  std::string format = options.json ? "json" : options.format;
  if (format.empty() && options.long_lines) format = "wide";
  std::string out;
  if (format == "json" || format == "yaml") {
    boost::json::value value;
    if (options.app.empty()) {
      boost::json::array list;
      for (const App& app : apps) list.emplace_back(app.json());
      value = std::move(list);
    } else {
      value = apps.front().json();
    }
    out = format == "json" ? pretty_json(value) + "\n" : to_yaml(value);
  } else if (format == "name") {
    for (const App& app : apps) out += printable(app.name()) + "\n";
  } else {
    const bool wide = format == "wide";
    out = app_table(apps, std::time(nullptr), wide).render(wide ? std::nullopt : output_width(), output_colour());
  }
  return out;
}

// The list again whenever it has changed, until Ctrl-C. A terminal shows one picture, anything else gets one after the
// other.
int watch_apps(Client& client, const ViewOptions& options) {
  constexpr std::chrono::seconds kPause{1};
  const Interrupt interrupt;
  client.cancel_on(interrupt.fd());
  const bool is_table = !options.json && (options.format.empty() || options.format == "wide");
  bool away = false;
  std::string before;
  try {
    do {
      try {
        const std::vector<App> apps = client.list_apps();
        if (std::exchange(away, false)) tell("-- connected again --");
        const std::string now = apps_text(apps, options);
        if (now != before && !write_output((is_table && output_is_terminal() ? kClearScreen : "") + now))
          return kFailed;
        before = now;
      } catch (const ClientError& error) {
        if (!error.connection_lost() && error.status() != 502 && error.status() != 503) throw;
        if (before.empty()) throw;  // it was never there
        if (!std::exchange(away, true)) tell(std::string("-- ") + error.what() + "; waiting for the daemon --");
      }
    } while (!interrupt.pause(kPause));
  } catch (const ClientError& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
  }
  return kSignalBase + interrupt.signal();
}

int view(Context& context, const ViewOptions& options) {
  if (options.output && options.app.empty()) throw CliError(kUsage, "-o needs an app: -a NAME");
  if (options.index != 0 && options.follow)
    throw CliError(kUsage, "-f follows the current run; it cannot be combined with -i");
  if (options.index != 0 && !options.output)
    throw CliError(kUsage, "-i chooses the output of an older run: give -o and -a NAME with it");
  Client& client = context.client();
  if (options.follow && !options.app.empty()) {
    const Interrupt interrupt;
    return follow_app(client, options.app, interrupt);
  }
  if (options.follow) return watch_apps(client, options);
  if (options.output) return print_output(client, options.app, options.index);
  std::vector<App> apps;
  if (options.app.empty()) {
    apps = client.list_apps();
  } else {
    apps.push_back(client.get_app(options.app));
  }
  return options.tree ? print_trees(apps) : write_output(apps_text(apps, options)) ? kOk : kFailed;
}

}  // namespace

void add_view_command(CLI::App& root, Context& context) {
  add_command<ViewOptions>(
      root, context, "view", "List apps, or show one app, its output or its processes",
      [](CLI::App& verb, ViewOptions& options) {
        verb.alias("ls")->alias("list");
        verb.add_option("-a,--app", options.app, "only this app");
        verb.add_flag("-l,--long", options.long_lines, "cut nothing; add next start and last error");
        verb.add_flag("-o,--show-output", options.output, "print what the app has written (with -a)");
        verb.add_flag("-f,--follow", options.follow,
                      "with -a: print what the app writes, run after run, until Ctrl-C; without: the list, again when "
                      "it changes");
        verb.add_option("-i,--log-index", options.index, "output of an older run: 1 = the one before, 2, …")
            ->check(whole_number(0, 1'000'000));
        verb.add_flag("-P,--pstree", options.tree, "print the tree of processes");
        verb.add_flag("-j,--json", options.json, "as --format json");
        verb.add_option("--format", options.format, "json, yaml, wide or name")
            ->check(CLI::IsMember({"json", "yaml", "wide", "name"}));
      },
      view);
}

}  // namespace appmesh::cli

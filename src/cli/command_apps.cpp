#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/rolling_restart.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

struct ControlOptions {
  std::string app;
  bool all = false;
};

using Control = std::string (Client::*)(std::string_view);

int apply(Client& client, const std::string& name, Control call, const Interrupt& interrupt) {
  tell((client.*call)(name));
  return call == &Client::restart_app ? await_rolling_restart(client, name, interrupt) : kOk;
}

int control(Context& context, const ControlOptions& options, Control call) {
  if (options.app.empty() != options.all) throw CliError(kUsage, "give one of -a NAME and -A");
  Client& client = context.client();
  const Interrupt interrupt;
  if (!options.all) return apply(client, options.app, call, interrupt);
  int result = kOk;
  for (const App& app : client.list_apps()) {
    if (app.status() == AppStatus::kNotAvailable) continue;  // runs on demand are nobody's to enable
    // Restarting what is meant to stay stopped would start it.
    if (call == &Client::restart_app && app.status() != AppStatus::kEnabled) continue;
    try {
      if (const int code = apply(client, app.name(), call, interrupt); code != kOk) result = code;
      if (interrupt.signal() != 0) return result;
    } catch (const ClientError& error) {
      if (error.kind() != ErrorKind::kStatus || error.status() == 401) throw;
      complain(app.name() + ": " + error.what());
      result = kFailed;
    }
  }
  return result;
}

struct RemoveOptions {
  std::vector<std::string> apps;
  bool force = false;
};

int remove(Context& context, const RemoveOptions& options) {
  Client& client = context.client();
  int result = kOk;
  for (const std::string& name : options.apps) {
    try {
      tell(client.delete_app(name, options.force) ? "Removed " + name + "." : "There is no app " + name + ".");
    } catch (const ClientError& error) {
      if (options.apps.size() == 1 || error.kind() != ErrorKind::kStatus || error.status() == 401) throw;
      complain(name + ": " + error.what());
      result = kFailed;
    }
  }
  return result;
}

void add_control(CLI::App& root, Context& context, const char* name, const char* help, Control call) {
  add_command<ControlOptions>(
      root, context, name, help,
      [](CLI::App& verb, ControlOptions& options) {
        verb.add_option("-a,--app", options.app, "this app");
        verb.add_flag("-A,--all", options.all, "every app");
      },
      [call](Context& inner, const ControlOptions& options) { return control(inner, options, call); });
}

}  // namespace

void add_app_commands(CLI::App& root, Context& context) {
  add_command<RemoveOptions>(
      root, context, "rm", "Stop and remove an app; none there is fine too",
      [](CLI::App& verb, RemoveOptions& options) {
        verb.alias("remove")->alias("unreg");
        verb.add_option("-a,--app", options.apps, "the app (repeat)")->required();
        verb.add_flag("-f,--force", options.force, "even when other apps depend on it");
      },
      remove);
  add_control(root, context, "enable", "Let an app run", &Client::enable_app);
  add_control(root, context, "disable", "Stop an app and keep it stopped", &Client::disable_app);
  add_control(root, context, "restart", "Stop an app and start it again, its instances one after the other",
              &Client::restart_app);
}

}  // namespace appmesh::cli

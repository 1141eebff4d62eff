#include <algorithm>
#include <optional>

#include "cli/app_document.h"
#include "cli/app_options.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/rolling_restart.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

struct AddOptions {
  std::string app, command, description, working_dir, status, health_check, image;
  std::string metadata, stop_timeout, exit_policy, document;
  ScheduleOptions schedule;
  std::vector<std::string> env, secret_env, control;
  std::optional<std::int64_t> pid, memory, virtual_memory, cpu_shares, log_cache, permission;
  bool shell = false, session_login = false, force = false;
};

void set_text(App& app, const char* field, const std::string& value) {
  if (!value.empty()) app.set(field, boost::json::string(value));
}

void set_number(App& app, const char* field, const std::optional<std::int64_t>& value) {
  if (value) app.set(field, *value);
}

std::int64_t status_number(const std::string& text) {
  for (const char* yes : {"1", "true", "enabled", "enable", "on"}) {
    if (text == yes) return 1;
  }
  for (const char* no : {"0", "false", "disabled", "disable", "off"}) {
    if (text == no) return 0;
  }
  throw CliError(kUsage, "-s " + text + " is neither enabled nor disabled");
}

void set_policies(App& app, const AddOptions& options) {
  if (!options.exit_policy.empty()) app.set_exit_behavior(options.exit_policy);
  for (const std::string& entry : options.control) {
    const std::size_t colon = entry.find(':');
    const std::string code = entry.substr(0, colon);
    if (colon == std::string::npos || code.empty() || code.find_first_not_of("-0123456789") != std::string::npos ||
        code.size() > 4) {
      throw CliError(kUsage, "-T '" + entry + "' is not CODE:ACTION, for example 41:restart");
    }
    app.set_control_behavior(std::atoi(code.c_str()), entry.substr(colon + 1));
  }
}

App make_app(const AddOptions& options) {
  App app;
  if (!options.document.empty()) {
    const bool input = options.document == "std" || options.document == "-";
    app = App(input ? parse_app_document(read_input(kMaxDocumentBytes), "standard input")
                    : parse_app_document(read_file(options.document, kMaxDocumentBytes), options.document));
  }
  set_text(app, "name", options.app);
  set_text(app, "command", options.command);
  set_text(app, "description", options.description);
  set_text(app, "working_dir", options.working_dir);
  set_text(app, "health_check_cmd", options.health_check);
  set_text(app, "docker_image", options.image);
  set_text(app, "retention", options.stop_timeout);
  if (!options.status.empty()) app.set("status", status_number(options.status));
  if (options.shell) app.set("shell", true);
  if (options.session_login) app.set("session_login", true);
  if (!options.metadata.empty()) set_text(app, "metadata", metadata_text(options.metadata));
  set_number(app, "pid", options.pid);
  set_number(app, "stdout_cache_num", options.log_cache);
  set_number(app, "permission", options.permission);
  if (options.memory) child_object(app, "resource_limit")["memory_mb"] = *options.memory;
  if (options.virtual_memory) child_object(app, "resource_limit")["memory_virt_mb"] = *options.virtual_memory;
  if (options.cpu_shares) child_object(app, "resource_limit")["cpu_shares"] = *options.cpu_shares;
  set_schedule(app, options.schedule);
  set_policies(app, options);
  set_environment(app, options.env, false);
  set_environment(app, options.secret_env, true);
  return app;
}

// Without -f an app that is already there stays as it is.
void refuse_existing(Client& client, const std::string& name) {
  try {
    client.get_app(name);
  } catch (const ClientError& error) {
    if (error.status() == 404) return;
    throw;
  }
  throw CliError(kFailed, "the app " + name + " exists already", "give -f to change it");
}

int add(Context& context, const AddOptions& options) {
  const App app = make_app(options);
  if (app.name().empty()) throw CliError(kUsage, "the app needs a name: -a NAME");
  Client& client = context.client();
  if (!options.force) refuse_existing(client, app.name());
  client.add_app(app);
  tell("Registered " + app.name() + ".");
  const Interrupt interrupt;
  return options.force ? await_rolling_restart(client, app.name(), interrupt) : kOk;
}

void add_definition_options(CLI::App& verb, AddOptions& options) {
  verb.alias("reg");
  verb.add_option("-a,--app", options.app, "name of the app");
  verb.add_option("-c,--cmd", options.command, "command to run");
  verb.add_option("-d,--description", options.description, "what the app is");
  verb.add_option("-w,--working-dir", options.working_dir, "folder that it runs in");
  verb.add_option("-s,--status", options.status, "enabled (default) or disabled");
  verb.add_flag("-u,--shell", options.shell, "run the command by a shell");
  verb.add_flag("-G,--session-login", options.session_login, "run in a login session of the OS user");
  verb.add_option("-K,--health-check", options.health_check, "command whose exit code 0 means healthy");
  verb.add_option("-I,--docker-image", options.image, "container image");
  verb.add_option("-P,--pid", options.pid, "take over this running process");
  verb.add_option("-m,--metadata", options.metadata, "text or JSON for its standard input; @FILE reads it from a file");
  verb.add_option("-p,--permission", options.permission, "two digits, others and group: 1 deny, 2 read, 3 write");
  verb.add_option("-N,--log-cache-size", options.log_cache, "outputs of older runs to keep");
  verb.add_option("-M,--memory-limit", options.memory, "memory limit in MiB");
  verb.add_option("-V,--virtual-memory", options.virtual_memory, "limit of memory and swap together in MiB");
  verb.add_option("-C,--cpu-shares", options.cpu_shares, "CPU weight, 2..262144");
  verb.add_option("-e,--env", options.env, "NAME=VALUE, or NAME to hand on its value here (repeat)")
      ->allow_extra_args(false);
  verb.add_option("-z,--security-env", options.secret_env, "as -e, stored encrypted and never shown (repeat)")
      ->allow_extra_args(false);
  verb.add_option("-D,--stdin", options.document,
                  "read the definition as YAML or JSON from a file, or `std` for standard input");
  verb.add_flag("-f,--force", options.force, "change the app if it exists");
}

void add_policy_options(CLI::App& verb, AddOptions& options) {
  verb.add_option("-R,--stop-timeout", options.stop_timeout, "grace between SIGTERM and SIGKILL: seconds or ISO 8601");
  verb.add_option("-Q,--exit", options.exit_policy, "after an exit: standby (default), restart, keepalive or remove")
      ->check(CLI::IsMember({"standby", "restart", "keepalive", "remove"}, CLI::ignore_case));
  verb.add_option("-T,--control", options.control, "CODE:ACTION, the same for one exit code (repeat)")
      ->allow_extra_args(false);
}

}  // namespace

void add_add_command(CLI::App& root, Context& context) {
  add_command<AddOptions>(
      root, context, "add", "Register an app",
      [](CLI::App& verb, AddOptions& options) {
        add_definition_options(verb, options);
        add_schedule_options(verb, options.schedule);
        add_policy_options(verb, options);
      },
      add);
}

}  // namespace appmesh::cli

#include <csignal>
#include <ctime>
#include <random>

#include <appmesh/duration.h>
#include <fmt/format.h>

#include "cli/app_options.h"
#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

using namespace std::chrono_literals;

struct RunTimes {
  std::string lifetime = "216000";
  std::string timeout = "172800";
};

struct RunPlan {
  App app;
  RunOptions options;
  bool sync = false;
  bool own_name = false;  // the name was made up here, so it is the run app's name whatever happens
};

std::chrono::seconds duration_of(const char* option, const std::string& text) {
  const auto value = parse_duration(text);
  if (!value) throw CliError(kUsage, fmt::format("{} {} is neither seconds nor an ISO 8601 duration", option, text));
  return *value;
}

void set_times(RunPlan& plan, const RunTimes& times) {
  std::string_view timeout = times.timeout;
  plan.sync = timeout.starts_with('-');
  if (plan.sync) timeout.remove_prefix(1);
  plan.options.timeout = duration_of("-t", std::string(timeout));
  plan.options.lifetime = duration_of("-T", times.lifetime);
}

std::string made_up_name() {
  std::random_device random;
  return fmt::format("run-{:08x}{:08x}", random(), random());
}

// Ctrl-C while a synchronous run of a registered app goes on: its run app is NAME_k, and only one of them can be ours
// when exactly one is newer than our call.
std::string find_copy(Client& client, const std::string& name, std::int64_t since) {
  std::vector<std::string> found;
  for (const App& app : client.list_apps()) {
    const std::string candidate = app.name();
    if (!candidate.starts_with(name + "_") || app.status() != AppStatus::kNotAvailable) continue;
    if (candidate.find_first_not_of("0123456789", name.size() + 1) != std::string::npos) continue;
    if (app.number("register_time").value_or(0) + 1 >= since) found.push_back(candidate);
  }
  return found.size() == 1 ? found.front() : std::string();
}

int stop_run(Client& client, std::string name, const std::string& source, std::int64_t since, int exit_code) {
  client.cancel_on(-1);
  try {
    if (name.empty()) name = find_copy(client, source, since);
    if (name.empty()) {
      complain("the run goes on: it could not be told from others of " + source);
    } else {
      client.delete_app(name, true);
      tell("Stopped " + name + ".");
    }
  } catch (const ClientError& error) {
    complain("the run " + name + " could not be stopped: " + error.what());
  }
  return exit_code;
}

int run_sync(Client& client, const RunPlan& plan, const Interrupt& interrupt) {
  const std::int64_t since = std::time(nullptr);
  client.cancel_on(interrupt.fd());
  try {
    const SyncResult result = client.run_sync(plan.app, plan.options);
    client.cancel_on(-1);
    write_output(result.output);
    if (!result.exit_code) throw CliError(kFailed, "the daemon did not tell the exit code of the run");
    return shell_exit_code(*result.exit_code);
  } catch (const ClientError& error) {
    if (error.kind() != ErrorKind::kCancelled) throw;
    const std::string name = plan.app.name();
    return stop_run(client, plan.own_name ? name : "", name, since, kSignalBase + interrupt.signal());
  }
}

int run_streamed(Client& client, const RunPlan& plan, const Interrupt& interrupt) {
  const Run run = client.run_async(plan.app, plan.options);
  StreamEnd end;
  try {
    end = stream_run(client, run, interrupt);
  } catch (const ClientError& error) {
    if (error.status() == 404) throw CliError(kFailed, "the run " + run.name + " was removed before it ended");
    throw;
  }
  switch (end.why) {
    case StreamEnd::Why::kInterrupted:
      return stop_run(client, run.name, {}, 0, kSignalBase + interrupt.signal());
    case StreamEnd::Why::kOutputClosed:
      return stop_run(client, run.name, {}, 0, kSignalBase + SIGPIPE);
    case StreamEnd::Why::kExited:
      break;
  }
  try {
    client.delete_app(run.name);
  } catch (const ClientError& error) {
    complain("the run app " + run.name + " could not be removed: " + error.what());
  }
  return shell_exit_code(*end.exit_code);
}

int execute(Client& client, RunPlan& plan, const Interrupt& interrupt) {
  plan.app.set_exit_behavior("remove");
  if (plan.app.name().empty()) {
    plan.app.set("name", boost::json::string(made_up_name()));
    plan.own_name = true;
  }
  return plan.sync ? run_sync(client, plan, interrupt) : run_streamed(client, plan, interrupt);
}

// A run without a command is a copy of an app, so there has to be one.
void require_app(Client& client, const std::string& name) {
  try {
    client.get_app(name);
  } catch (const ClientError& error) {
    if (error.status() != 404) return;  // the run itself says what is wrong
    throw CliError(kFailed, "there is no app " + name + " to run a copy of",
                   "see what there is with appc ls, or give a command: appc run -a " + name + " -c COMMAND");
  }
}

struct RunCommand {
  std::string app, command, description, working_dir, metadata;
  std::vector<std::string> env;
  bool shell = false, session_login = false;
  RunTimes times;
};

int run_command(Context& context, const RunCommand& options) {
  if (options.app.empty() && options.command.empty()) throw CliError(kUsage, "give -c COMMAND, or -a NAME of an app");
  RunPlan plan;
  set_times(plan, options.times);
  plan.app = App(options.app, options.command);
  const auto set_text = [&](const char* field, const std::string& value) {
    if (!value.empty()) plan.app.set(field, boost::json::string(value));
  };
  set_text("description", options.description);
  set_text("working_dir", options.working_dir);
  if (!options.metadata.empty()) set_text("metadata", metadata_text(options.metadata));
  if (options.shell) plan.app.set("shell", true);
  if (options.session_login) plan.app.set("session_login", true);
  set_environment(plan.app, options.env, false);
  Client& client = context.client();
  const Interrupt interrupt;
  if (options.command.empty()) require_app(client, options.app);
  return execute(client, plan, interrupt);
}

struct ExecCommand {
  std::vector<std::string> env;
  bool shell = false, session_login = false, retry = false;
  RunTimes times;
};

int exec_command(Context& context, const ExecCommand& options) {
  if (context.exec_words.empty()) throw CliError(kUsage, "no command given", "see: appc exec --help");
  std::string command;
  if (context.exec_words.size() == 1) {
    command = context.exec_words.front();  // a whole shell line
  } else {
    for (const std::string& word : context.exec_words) command += (command.empty() ? "" : " ") + shell_quote(word);
  }
  Client& client = context.client();
  const Interrupt interrupt;
  for (;;) {
    RunPlan plan;
    set_times(plan, options.times);
    plan.app = App({}, command);
    plan.app.set("shell", true);
    if (options.session_login) plan.app.set("session_login", true);
    set_environment(plan.app, options.env, false);
    const int code = execute(client, plan, interrupt);
    if (!options.retry || code == kOk || interrupt.signal() != 0) return code;
    tell(fmt::format("-- exit code {}; again --", code));
    if (interrupt.pause(1s)) return kSignalBase + interrupt.signal();
  }
}

void add_times(CLI::App& verb, RunTimes& times) {
  verb.add_option("-T,--lifetime", times.lifetime,
                  "the run's entry is kept so long at most: seconds or ISO 8601 (216000)");
  verb.add_option(
      "-t,--timeout", times.timeout,
      "the program is stopped after that: seconds or ISO 8601 (172800); negative: one request, output at the end");
}

}  // namespace

void add_run_commands(CLI::App& root, Context& context) {
  add_command<RunCommand>(
      root, context, "run", "Run a command, or a copy of an app, and show its output; exits as the program did",
      [](CLI::App& verb, RunCommand& options) {
        verb.add_option("-a,--app", options.app, "name; that of a registered app runs a copy of it");
        verb.add_option("-c,--cmd", options.command, "command to run");
        verb.add_option("-d,--description", options.description, "what the run is");
        verb.add_option("-w,--working-dir", options.working_dir, "folder that it runs in");
        verb.add_option("-m,--metadata", options.metadata, "text or JSON for its standard input; @FILE reads a file");
        verb.add_option("-e,--env", options.env, "NAME=VALUE, or NAME to hand on its value here (repeat)")
            ->allow_extra_args(false);
        verb.add_flag("-u,--shell", options.shell, "run the command by a shell");
        verb.add_flag("-G,--session-login", options.session_login, "run in a login session of the OS user");
        add_times(verb, options.times);
      },
      run_command);
  add_command<ExecCommand>(
      root, context, "exec", "Run CMD... in a shell on the host of the daemon; exits as the command did",
      [](CLI::App& verb, ExecCommand& options) {
        verb.footer("CMD follows the options. One word is a shell line (appc exec 'ls | wc -l'), several are quoted.");
        verb.add_option("-e,--env", options.env, "NAME=VALUE, or NAME to hand on its value here (repeat)")
            ->allow_extra_args(false);
        verb.add_flag("-u,--shell", options.shell, "always so: accepted for older scripts");
        verb.add_flag("-G,--session-login", options.session_login, "run in a login session of the OS user");
        verb.add_flag("-r,--retry", options.retry, "again every second until it exits with 0");
        add_times(verb, options.times);
      },
      exec_command);
}

}  // namespace appmesh::cli

// Every group of commands adds its verbs to the parser. A verb only stores what to do in Context::action; nothing
// happens while the command line is parsed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>

#include "cli/context.h"

namespace appmesh::cli {

void add_session_commands(CLI::App& root, Context& context);     // logon logoff loginfo passwd
void add_mfa_command(CLI::App& root, Context& context);          // mfa
void add_view_command(CLI::App& root, Context& context);         // view
void add_history_command(CLI::App& root, Context& context);      // history
void add_audit_command(CLI::App& root, Context& context);        // audit
void add_add_command(CLI::App& root, Context& context);          // add
void add_schedule_command(CLI::App& root, Context& context);     // schedule
void add_app_commands(CLI::App& root, Context& context);         // rm enable disable restart
void add_run_commands(CLI::App& root, Context& context);         // run exec
void add_event_commands(CLI::App& root, Context& context);       // events task logs
void add_file_commands(CLI::App& root, Context& context);        // get put
void add_shell_command(CLI::App& root, Context& context);        // shell
void add_host_commands(CLI::App& root, Context& context);        // label config resource metric log
void add_user_commands(CLI::App& root, Context& context);        // user lock appmgpwd
void add_completion_commands(CLI::App& root, Context& context);  // completion version

// A verb with options of type Options, kept alive by its action.
template <typename Options, typename Setup, typename Action>
CLI::App* add_command(CLI::App& root, Context& context, const std::string& name, const std::string& help, Setup setup,
                      Action action) {
  CLI::App* verb = root.add_subcommand(name, help);
  auto options = std::make_shared<Options>();
  setup(*verb, *options);
  verb->callback([&context, options, action] {
    context.action = [&context, options, action] { return action(context, *options); };
  });
  return verb;
}

struct NoOptions {};

}  // namespace appmesh::cli

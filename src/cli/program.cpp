#include "cli/program.h"

#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/completion.h"
#include "cli/exec_words.h"
#include "cli/exit_code.h"
#include "cli/usage.h"
#include "cli/version.h"

namespace appmesh::cli {
namespace {

constexpr const char* kFooter =
    "Exit codes: 0 ok, 1 failed, 2 wrong usage, 4 not logged in; run and exec exit as the program did, 128+N when\n"
    "signal N killed it.\n"
    "URLs: https://HOST[:PORT]. Until WebSocket and TCP are spoken here, wss://HOST:6058 and tcp://HOST:6059 stand "
    "for\n"
    "https://HOST:6060 of the same daemon.\n"
    "Environment: APPMESH_USER and APPMESH_PASSWORD as -U and -X; APPMESH_HOME moves tokens and configuration;\n"
    "APPMESH_HOME_DIR is the home of the local daemon, whose CA is trusted; NO_COLOR.";

std::string hint_for(const ClientError& error) {
  if (error.status() == 401) return "run: appc logon";
  if (error.kind() == ErrorKind::kConnect) return "is the daemon running? give another one with -H";
  if (error.kind() == ErrorKind::kTls) return "give its CA with --ca FILE, or --insecure to trust it unseen";
  return {};
}

int report(int exit_code, std::string_view message, const std::string& hint) {
  complain(message);
  if (!hint.empty()) tell("  " + hint);
  return exit_code;
}

int parse_failure(const CLI::App& parser, const std::vector<std::string>& words, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return parser.exit(error);  // --help, --version
  const UsageProblem problem = usage_problem(parser, words, error);
  return report(kUsage, problem.message, problem.hint);
}

// The name that it was called by: newer clients know the program as appm.
std::string called_by(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return name == "appm" ? "appm" : "appc";
}

}  // namespace

std::unique_ptr<CLI::App> make_parser(Context& context) {
  auto parser = std::make_unique<CLI::App>("App Mesh CLI: runs, watches and controls programs on a host.", "appc");
  parser->set_version_flag("--version", context.program + " version " + kVersion);
  parser->require_subcommand(1);
  parser->footer(kFooter);
  Globals& globals = context.globals;
  parser->add_option("-H,--host-url", globals.host_url,
                     "daemon to talk to (default: last used, else https://127.0.0.1:6060)");
  parser->add_option("-F,--forward-to", globals.forward_to, "host[:port] of another daemon that shall answer");
  parser->add_option("-U,--user", globals.user, "log on as this user for this call");
  parser->add_option("-X,--password", globals.password,
                     "password of that user (visible in ps: prefer APPMESH_PASSWORD)");
  parser->add_option("--ca", globals.ca, "trust this CA file or directory only");
  parser->add_flag("--insecure", globals.insecure, "accept any certificate");
  parser->add_flag("-v,--verbose", globals.verbose, "show every exchange on stderr");
  add_session_commands(*parser, context);
  add_mfa_command(*parser, context);
  add_view_command(*parser, context);
  add_history_command(*parser, context);
  add_audit_command(*parser, context);
  add_add_command(*parser, context);
  add_schedule_command(*parser, context);
  add_app_commands(*parser, context);
  add_run_commands(*parser, context);
  add_event_commands(*parser, context);
  add_file_commands(*parser, context);
  add_shell_command(*parser, context);
  add_host_commands(*parser, context);
  add_user_commands(*parser, context);
  add_completion_commands(*parser, context);
  for (CLI::App* verb : parser->get_subcommands([](CLI::App*) { return true; })) verb->fallthrough();
  return parser;
}

int run(int argc, char** argv) {
  try {
    Context context;
    if (argc > 0) context.program = called_by(argv[0]);
    const auto parser = make_parser(context);
    std::vector<std::string> words(argv + 1, argv + argc);
    if (!words.empty() && words.front() == "__complete") {
      return complete(*parser, context, {words.begin() + 1, words.end()});
    }
    context.exec_words = cut_exec_words(*parser, words);
    try {
      parser->parse(std::vector<std::string>(words.rbegin(), words.rend()));
    } catch (const CLI::ParseError& error) {
      return parse_failure(*parser, words, error);
    }
    return context.action();
  } catch (const CliError& error) {
    return report(error.exit_code(), error.what(), error.hint());
  } catch (const ClientError& error) {
    return report(error.status() == 401               ? kNotLoggedIn
                  : error.kind() == ErrorKind::kUsage ? kUsage
                                                      : kFailed,
                  error.what(), hint_for(error));
  } catch (const std::exception& error) {
    return report(kFailed, error.what(), {});
  }
}

}  // namespace appmesh::cli

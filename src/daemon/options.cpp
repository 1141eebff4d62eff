#include "daemon/options.h"

#include <string_view>

#include <fmt/format.h>

namespace appmesh::daemon {

namespace {

constexpr std::string_view kInstalledHome = "/opt/appmesh";
constexpr std::string_view kCheckoutHome = ".appmesh";

std::filesystem::path default_home(const std::filesystem::path& program) {
  return program.parent_path().parent_path() == kInstalledHome ? std::filesystem::path(kInstalledHome)
                                                               : std::filesystem::path(kCheckoutHome);
}

}  // namespace

Result<CommandLine> parse_command_line(std::span<const char* const> arguments) {
  CommandLine line;
  std::error_code error;
  line.program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return fail(ErrorKind::internal, "cannot tell where this program lies: " + error.message());
  line.home = default_home(line.program);
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      line.action = CommandLine::Action::help;
    } else if (argument == "--version" || argument == "-v") {
      line.action = CommandLine::Action::version;
    } else if (argument == "--home" && i + 1 < arguments.size()) {
      line.home = arguments[++i];
    } else if (argument.starts_with("--home=")) {
      line.home = argument.substr(7);
    } else {
      return fail(ErrorKind::invalid_argument, fmt::format("unknown argument '{}', see --help", argument));
    }
  }
  if (line.home.empty()) return fail(ErrorKind::invalid_argument, "--home needs a directory");
  if (line.home.is_relative()) {
    const auto here = std::filesystem::current_path(error);
    if (error)
      return fail(ErrorKind::invalid_argument,
                  fmt::format("--home {} is relative, and the present directory is gone: give a whole path",
                              line.home.string()));
    line.home = here / line.home;
  }
  line.home = line.home.lexically_normal();
  return line;
}

std::string help_text() {
  return fmt::format(
      "appsvc, the App Mesh daemon: runs, schedules, watches and calls programs on this host.\n\n"
      "usage: appsvc [--home DIR]\n\n"
      "  --home DIR   where everything lies (default {} when installed there, else ./{})\n"
      "  --version    print the version and exit\n"
      "  --help       print this and exit\n\n"
      "It stays in the foreground; SIGTERM ends it and leaves the applications running under appkeeper,\n"
      "SIGHUP reads configuration and users again. APPMESH_<A>_<B>=value overrides a configuration key.\n",
      kInstalledHome, kCheckoutHome);
}

}  // namespace appmesh::daemon

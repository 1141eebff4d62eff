#include "runtime/launch.h"

#include <algorithm>
#include <cerrno>
#include <map>

#include <sys/mman.h>

#include <boost/json/serialize.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/instance_name.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/user.h"

extern "C" char** environ;

namespace appmesh::runtime {

namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view kOfOneSession[] = {"HOME", "MAIL", "XDG_RUNTIME_DIR", "XDG_SESSION_ID",
                                              "DBUS_SESSION_BUS_ADDRESS"};
constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void put_identity(Variables& variables, const platform::User& user) {
  variables["USER"] = variables["LOGNAME"] = user.name;
  variables["SHELL"] = user.shell;
  if (!user.home.empty()) variables["HOME"] = user.home;
}

Variables base_environment(const platform::User& user) {
  Variables variables{{"PATH", std::string(kDefaultPath)}, {"LANG", "C.UTF-8"}};
  put_identity(variables, user);
  if (const char* zone = ::getenv("TZ"); zone != nullptr) variables["TZ"] = zone;
  return variables;
}

void put(Variables& variables, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) return;
  variables[std::string(assignment.substr(0, equals))] = assignment.substr(equals + 1);
}

// Below a shell the program that sends may have another pid, and would think that the watchdog is not meant for it.
bool wants_own_pid(const core::AppDefinition& definition, const NotifyLaunch& notify) {
  return notify.socket >= 0 && definition.watchdog_seconds > 0 && !definition.shell && !definition.session_login;
}

std::vector<std::string> build_environment(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                                           const LaunchOptions& options, const platform::User* user,
                                           const NotifyLaunch& notify) {
  Variables variables = base_environment(options.own_user);
  for (const auto& assignment : options.inherited_environment) put(variables, assignment);
  if (user != nullptr) {
    // What belongs to the daemon's own session would only mislead, or shut out, another user.
    for (const std::string_view name : kOfOneSession) variables.erase(std::string(name));
    put_identity(variables, *user);
  }
  for (const auto& [name, value] : definition.env) variables[name] = value;
  if (definition.sec_env)
    for (const auto& [name, value] : *definition.sec_env) variables[name] = value;
  variables["APP_MESH_PROCESS_KEY"] = tag.process_key;
  variables["APP_MESH_PROCESS_ID"] = id.text();
  variables["APP_MESH_APPLICATION_NAME"] = core::split_instance(definition.name).app;
  variables["APP_MESH_INSTANCE"] = std::to_string(tag.instance);
  variables["APP_MESH_LAUNCH_TIME"] =
      fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(std::chrono::system_clock::to_time_t(platform::wall_now())));
  // Whatever these say in the daemon's own environment is meant for the daemon.
  for (const std::string_view name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
    variables.erase(std::string(name));
  if (notify.socket >= 0) variables["NOTIFY_SOCKET"] = notify.address;
  if (notify.socket >= 0 && definition.watchdog_seconds > 0)
    variables["WATCHDOG_USEC"] = std::to_string(definition.watchdog_seconds * 1'000'000);
  std::vector<std::string> environment;
  environment.reserve(variables.size() + 1);
  for (const auto& [name, value] : variables) environment.push_back(name + '=' + value);
  if (wants_own_pid(definition, notify)) environment.emplace_back("WATCHDOG_PID=0000000000");
  return environment;
}

Result<std::vector<std::string>> build_arguments(const core::AppDefinition& definition, const platform::User& user) {
  if (definition.session_login) return std::vector<std::string>{user.shell, "-l", "-c", definition.command};
  if (!definition.shell) return core::split_command(definition.command);
  static const bool has_bash = ::access("/bin/bash", X_OK) == 0;
  return std::vector<std::string>{has_bash ? "/bin/bash" : "/bin/sh", "-e", "-c", definition.command};
}

// A string goes to stdin as it is, any other JSON as its text. The memory file lives as long as the child keeps it.
Result<platform::UniqueFd> open_metadata(const boost::json::value& metadata) {
  if (metadata.is_null()) return platform::UniqueFd{};
  const std::string text = metadata.is_string() ? std::string(metadata.get_string()) : boost::json::serialize(metadata);
  platform::UniqueFd file(::memfd_create("metadata", MFD_CLOEXEC));
  if (!file) return fail_errno(ErrorKind::internal, "stdin", errno);
  if (auto written = platform::write_all(file.get(), text); !written) return std::unexpected(written.error());
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

}  // namespace

Result<Launch> prepare_launch(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                              const OutputFiles& outputs, const LaunchOptions& options, const platform::User* user,
                              const NotifyLaunch& notify, int terminal) {
  Launch launch;
  const platform::User& runs_as = user != nullptr ? *user : options.own_user;
  auto arguments = terminal >= 0 && definition.command.empty() ? Result<std::vector<std::string>>({runs_as.shell, "-l"})
                                                               : build_arguments(definition, runs_as);
  if (!arguments) return std::unexpected(arguments.error());
  auto input = open_metadata(definition.metadata);
  if (!input) return std::unexpected(input.error());
  if (tag.kind == RunKind::app) {  // a check's output is nobody's
    auto output = outputs.open_for_run(definition.name, tag.run_number);
    if (!output) return std::unexpected(output.error());
    launch.output = std::move(*output);
  }

  launch.input = std::move(*input);
  SpawnRequest& request = launch.request;
  request.id = id;
  request.tag = tag.encode();
  request.arguments = std::move(*arguments);
  request.environment = build_environment(definition, id, tag, options, user, notify);
  request.own_pid = wants_own_pid(definition, notify);
  if (notify.socket >= 0) request.kept_fds.push_back(notify.socket);
  request.working_directory = definition.working_dir.empty() ? options.default_directory : definition.working_dir;
  request.stdin_fd = launch.input.get();
  request.output_fd = launch.output.get();
  if (terminal >= 0) {
    request.stdin_fd = request.output_fd = terminal;
    request.controlling_terminal = true;
    if (definition.working_dir.empty() && !runs_as.home.empty()) request.working_directory = runs_as.home;
  }
  if (user != nullptr) {
    request.user = SpawnRequest::User{user->uid, user->gid, {user->groups.begin(), user->groups.end()}};
    request.no_new_privileges = !definition.session_login;
    request.keep_bounding_set = definition.session_login;
    // So that the program may open /dev/stdout and /dev/stderr by name.
    if (launch.output && ::fchown(launch.output.get(), user->uid, user->gid) != 0)
      return fail_errno(ErrorKind::internal, "output file", errno);
  }
  return launch;
}

platform::User own_user() {
  auto user = platform::find_user(::geteuid());
  if (user) return std::move(*user);
  return {.name = std::to_string(::geteuid()),
          .uid = ::geteuid(),
          .gid = ::getegid(),
          .groups = {},
          .home = {},
          .shell = "/bin/sh"};
}

std::vector<std::string> inheritable_environment(const std::vector<std::string>& names) {
  std::vector<std::string> result;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view assignment = *variable;
    const std::string_view name = assignment.substr(0, assignment.find('='));
    const bool wanted =
        names.empty() ? !name.starts_with("APPMESH_") : std::find(names.begin(), names.end(), name) != names.end();
    if (wanted) result.emplace_back(assignment);
  }
  return result;
}

}  // namespace appmesh::runtime

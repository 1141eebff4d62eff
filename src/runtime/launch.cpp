#include "runtime/launch.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>

#include <sys/mman.h>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "core/instance_name.h"
#include "platform/clock.h"
#include "platform/file.h"
#include "platform/user.h"

extern "C" char** environ;

namespace appmesh::runtime {

namespace {

// Of the variables of a run; the last word about a name counts. Only views, as most of it is the daemon's own
// environment, and every run has it: what is looked at must outlive this.
class Variables {
 public:
  void put(std::string_view name, std::string_view value) { all_.push_back({name, value, ++last_}); }
  void put(std::string_view assignment) {
    const auto equals = assignment.find('=');
    if (equals == std::string_view::npos || equals == 0) return;
    put(assignment.substr(0, equals), assignment.substr(equals + 1));
  }
  void erase(std::string_view name) {
    std::erase_if(all_, [name](const auto& variable) { return variable.name == name; });
  }
  // Sorted by name; room for one more.
  [[nodiscard]] std::vector<std::string> assignments() && {
    std::ranges::sort(all_, {}, [](const Variable& variable) { return std::pair(variable.name, variable.order); });
    std::vector<std::string> result;
    result.reserve(all_.size() + 1);
    for (std::size_t i = 0; i < all_.size(); ++i) {
      const auto& [name, value, order] = all_[i];
      if (i + 1 < all_.size() && all_[i + 1].name == name) continue;
      std::string& assignment = result.emplace_back();
      assignment.reserve(name.size() + 1 + value.size());
      assignment.append(name).append("=").append(value);
    }
    return result;
  }

 private:
  struct Variable {
    std::string_view name;
    std::string_view value;
    std::size_t order = 0;  // a sort that keeps the order would warn: libstdc++ 12 uses what C++20 has removed
  };
  std::vector<Variable> all_;
  std::size_t last_ = 0;
};

constexpr std::string_view kOfOneSession[] = {"HOME", "MAIL", "XDG_RUNTIME_DIR", "XDG_SESSION_ID",
                                              "DBUS_SESSION_BUS_ADDRESS"};
constexpr std::size_t kMaxInheritedBytes = std::size_t{64} * 1024;  // a third of a spawn message
constexpr std::size_t kMaxInheritedVariables = 1024;
constexpr std::size_t kMaxNamedVariables = 10;  // in the log
constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

void put_identity(Variables& variables, const platform::User& user) {
  variables.put("USER", user.name);
  variables.put("LOGNAME", user.name);
  variables.put("SHELL", user.shell);
  if (!user.home.empty()) variables.put("HOME", user.home);
}

void put_base(Variables& variables, const platform::User& user) {
  variables.put("PATH", kDefaultPath);
  variables.put("LANG", "C.UTF-8");
  put_identity(variables, user);
  if (const char* zone = ::getenv("TZ"); zone != nullptr) variables.put("TZ", zone);
}

// Below a shell the program that sends may have another pid, and would think that the watchdog is not meant for it.
bool wants_own_pid(const core::AppDefinition& definition, const NotifyLaunch& notify) {
  return notify.socket >= 0 && definition.watchdog_seconds > 0 && !definition.shell && !definition.session_login;
}

std::vector<std::string> build_environment(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                                           const LaunchOptions& options, const platform::User* user,
                                           const NotifyLaunch& notify) {
  const std::string run_id = id.text();
  const auto instance = core::split_instance(definition.name);
  const std::string instance_number = std::to_string(tag.instance);
  const std::string launch_time =
      fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(std::chrono::system_clock::to_time_t(platform::wall_now())));
  const std::string watchdog = std::to_string(definition.watchdog_seconds * 1'000'000);

  Variables variables;
  put_base(variables, options.own_user);
  for (const auto& assignment : options.inherited_environment) variables.put(assignment);
  if (user != nullptr) {
    // What belongs to the daemon's own session would only mislead, or shut out, another user.
    for (const std::string_view name : kOfOneSession) variables.erase(name);
    put_identity(variables, *user);
  }
  for (const auto& [name, value] : definition.env) variables.put(name, value);
  if (definition.sec_env)
    for (const auto& [name, value] : *definition.sec_env) variables.put(name, value);
  variables.put("APP_MESH_PROCESS_KEY", tag.process_key);
  variables.put("APP_MESH_PROCESS_ID", tag.process_key);
  variables.put(kRunMark, run_id);
  variables.put("APP_MESH_APPLICATION_NAME", instance.app);
  variables.put("APP_MESH_INSTANCE", instance_number);
  variables.put("APP_MESH_LAUNCH_TIME", launch_time);
  // Whatever these say in the daemon's own environment is meant for the daemon.
  for (const std::string_view name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) variables.erase(name);
  if (notify.socket >= 0) variables.put("NOTIFY_SOCKET", notify.address);
  if (notify.socket >= 0 && definition.watchdog_seconds > 0) variables.put("WATCHDOG_USEC", watchdog);
  std::vector<std::string> environment = std::move(variables).assignments();
  if (wants_own_pid(definition, notify)) environment.emplace_back("WATCHDOG_PID=0000000000");
  return environment;
}

Result<std::vector<std::string>> build_arguments(const core::AppDefinition& definition, const platform::User& user) {
  if (definition.session_login) return std::vector<std::string>{user.shell, "-l", "-c", definition.command};
  if (!definition.shell) return core::split_command(definition.command);
  static const bool has_bash = ::access("/bin/bash", X_OK) == 0;
  return std::vector<std::string>{has_bash ? "/bin/bash" : "/bin/sh", "-e", "-c", definition.command};
}

// The memory file lives as long as the child keeps it.
Result<platform::UniqueFd> open_metadata(const core::Metadata& metadata) {
  if (metadata.kind() == core::Metadata::Kind::none) return platform::UniqueFd{};
  platform::UniqueFd file(::memfd_create("metadata", MFD_CLOEXEC));
  if (!file) return fail_errno(ErrorKind::internal, "stdin", errno);
  if (auto written = platform::write_all(file.get(), metadata.text()); !written)
    return std::unexpected(written.error());
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
  // As the daemon has no directory of its own that an app could mean, a relative one starts where apps without one do.
  request.working_directory =
      definition.working_dir.empty()
          ? options.default_directory
          : (std::filesystem::path(options.default_directory) / definition.working_dir).string();
  request.stdin_fd = launch.input.get();
  request.output_fd = launch.output.get();
  if (terminal >= 0) {
    request.stdin_fd = request.output_fd = terminal;
    request.controlling_terminal = true;
    if (definition.working_dir.empty() && !runs_as.home.empty()) {
      request.working_directory = runs_as.home;
      request.home_directory = true;
    }
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
  std::size_t total = 0;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view assignment = *variable;
    const std::string_view name = assignment.substr(0, assignment.find('='));
    const bool wanted =
        names.empty() ? !name.starts_with("APPMESH_") : std::find(names.begin(), names.end(), name) != names.end();
    if (!wanted) continue;
    result.emplace_back(assignment);
    total += assignment.size() + 1;
  }
  // What a start can carry is bounded, and the app's own variables and arguments come first: the largest go.
  std::ranges::sort(result, std::greater{},
                    [](const std::string& variable) { return std::pair(variable.size(), std::string_view(variable)); });
  std::size_t left_out = 0;
  while (total > kMaxInheritedBytes || result.size() - left_out > kMaxInheritedVariables) {
    const std::string& largest = result[left_out++];
    total -= largest.size() + 1;
    if (left_out <= kMaxNamedVariables)
      spdlog::warn("the variable {} of the daemon's environment ({} bytes) is not handed on: see BaseConfig.InheritEnv",
                   largest.substr(0, std::min<std::size_t>(largest.find('='), 64)), largest.size());
  }
  if (left_out > kMaxNamedVariables)
    spdlog::warn("{} more variables of the daemon's environment are not handed on", left_out - kMaxNamedVariables);
  result.erase(result.begin(), result.begin() + static_cast<std::ptrdiff_t>(left_out));
  return result;
}

}  // namespace appmesh::runtime

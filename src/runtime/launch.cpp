#include "runtime/launch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include <boost/json/serialize.hpp>
#include <fmt/chrono.h>
#include <fmt/format.h>

#include "platform/clock.h"
#include "platform/file.h"
#include "platform/user.h"

extern "C" char** environ;

namespace appmesh::runtime {

namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const Variables& base_environment() {
  static const Variables base = [] {
    Variables variables{{"PATH", std::string(kDefaultPath)}, {"LANG", "C.UTF-8"}};
    if (const auto user = platform::find_user(::geteuid())) {
      variables["USER"] = user->name;
      variables["HOME"] = user->home;
    }
    if (const char* zone = ::getenv("TZ"); zone != nullptr) variables["TZ"] = zone;
    return variables;
  }();
  return base;
}

void put(Variables& variables, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0) return;
  variables[std::string(assignment.substr(0, equals))] = assignment.substr(equals + 1);
}

std::vector<std::string> build_environment(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                                           const LaunchOptions& options) {
  Variables variables = base_environment();
  for (const auto& assignment : options.inherited_environment) put(variables, assignment);
  for (const auto& [name, value] : definition.env) variables[name] = value;
  if (definition.sec_env)
    for (const auto& [name, value] : *definition.sec_env) variables[name] = value;
  variables["APP_MESH_PROCESS_KEY"] = tag.process_key;
  variables["APP_MESH_PROCESS_ID"] = id.text();
  variables["APP_MESH_APPLICATION_NAME"] = definition.name;
  variables["APP_MESH_INSTANCE"] = std::to_string(tag.instance);
  variables["APP_MESH_LAUNCH_TIME"] =
      fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(std::chrono::system_clock::to_time_t(platform::wall_now())));
  std::vector<std::string> environment;
  environment.reserve(variables.size());
  for (const auto& [name, value] : variables) environment.push_back(name + '=' + value);
  return environment;
}

Result<std::vector<std::string>> build_arguments(const core::AppDefinition& definition) {
  if (!definition.shell) return core::split_command(definition.command);
  static const bool has_bash = ::access("/bin/bash", X_OK) == 0;
  return std::vector<std::string>{has_bash ? "/bin/bash" : "/bin/sh", "-e", "-c", definition.command};
}

// A string goes to stdin as it is, any other JSON as its text. The memory file lives as long as the child keeps it.
Result<platform::UniqueFd> open_metadata(const boost::json::value& metadata) {
  if (metadata.is_null()) return platform::UniqueFd{};
  const std::string text =
      metadata.is_string() ? std::string(metadata.get_string()) : boost::json::serialize(metadata);
  platform::UniqueFd file(::memfd_create("metadata", MFD_CLOEXEC));
  if (!file) return fail_errno(ErrorKind::internal, "stdin", errno);
  if (auto written = platform::write_all(file.get(), text); !written) return std::unexpected(written.error());
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

}  // namespace

Result<Launch> prepare_launch(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                              const OutputFiles& outputs, const LaunchOptions& options) {
  Launch launch;
  auto arguments = build_arguments(definition);
  if (!arguments) return std::unexpected(arguments.error());
  auto input = open_metadata(definition.metadata);
  if (!input) return std::unexpected(input.error());
  auto output = outputs.open_for_run(definition.name, tag.run_number);
  if (!output) return std::unexpected(output.error());

  launch.input = std::move(*input);
  launch.output = std::move(*output);
  SpawnRequest& request = launch.request;
  request.id = id;
  request.tag = tag.encode();
  request.arguments = std::move(*arguments);
  request.environment = build_environment(definition, id, tag, options);
  request.working_directory = definition.working_dir.empty() ? options.default_directory : definition.working_dir;
  request.stdin_fd = launch.input.get();
  request.output_fd = launch.output.get();
  return launch;
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

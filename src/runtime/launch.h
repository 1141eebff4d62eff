// From a definition to what the keeper is asked to do: argv, environment, directory, stdin, output, user. see
// docs/wire.md#launch. Stateless but for its options; used on the engine thread (it opens files, never waits).
#pragma once

#include <string>
#include <vector>

#include "core/app_definition.h"
#include "core/error.h"
#include "platform/unique_fd.h"
#include "platform/user.h"
#include "runtime/keeper_client.h"
#include "runtime/output_files.h"
#include "runtime/run_tag.h"

namespace appmesh::runtime {

struct LaunchOptions {
  std::string default_directory;                   // of apps that name none: HOME/work/tmp
  std::vector<std::string> inherited_environment;  // NAME=value of the daemon that children get, already filtered
  platform::User own_user;                         // of apps that switch to no other; see own_user()
};

// What the run is told of its notify socket and watchdog (docs/wire.md#own-fields).
struct NotifyLaunch {
  int socket = -1;      // kept by the keeper beside the daemon; -1: none
  std::string address;  // value of NOTIFY_SOCKET
};

struct Launch {
  SpawnRequest request;
  platform::UniqueFd input;   // stdin of the child; invalid: /dev/null
  platform::UniqueFd output;  // stdout and stderr; invalid: /dev/null
};

// `tag.cgroup` is already chosen. `user` is who the run switches to, null: the daemon's own. A switched run keeps no
// capability and can gain no privilege by exec, but for a login session, in which sudo and its like work as in any
// other login of that user. `terminal`, borrowed, is stdin and output in place of files, and a definition without a
// command is then a login shell. Errors name the step: command, stdin, output file.
[[nodiscard]] Result<Launch> prepare_launch(const core::AppDefinition& definition, const RunId& id, const RunTag& tag,
                                            const OutputFiles& outputs, const LaunchOptions& options,
                                            const platform::User* user = nullptr, const NotifyLaunch& notify = {},
                                            int terminal = -1);

// The variable by which a process shows the run that it belongs to, and what older daemons called it: their runs may
// live on under this one. That name is now what workers of SDK 1.5 expect it to be, the process key.
inline constexpr std::string_view kRunMark = "APP_MESH_RUN_ID";
inline constexpr std::string_view kOldRunMark = "APP_MESH_PROCESS_ID";

// The daemon's user as the name service knows it, or its number and no home. May wait for the name service.
[[nodiscard]] platform::User own_user();

// The daemon's own variables that children inherit: all but APPMESH_* when `names` is empty, else the named ones. 64
// KiB of them at most; the largest are left out, and named in the log.
[[nodiscard]] std::vector<std::string> inheritable_environment(const std::vector<std::string>& names);

}  // namespace appmesh::runtime

// Where everything lies below the one home directory of the daemon (--home). HomePaths is a plain value that any thread
// may copy; make_home() creates what is missing and is called once, at start, before anything else touches the disk.
#pragma once

#include <filesystem>

#include "core/error.h"

namespace appmesh::store {

struct HomePaths {
  std::filesystem::path home;         // absolute
  std::filesystem::path work;         // home/work, 0755: apps of other users must be able to reach work/tmp
  std::filesystem::path work_config;  // work/config, 0700: changed copies of config, security; secrets
  std::filesystem::path stdout_dir;   // work/stdout, 0700
  std::filesystem::path stdin_dir;    // work/stdin, 0700
  std::filesystem::path shell;        // work/shell, 0700
  std::filesystem::path apps;         // work/apps, 0700: one YAML file per definition
  std::filesystem::path notify;       // work/notify, 0711: sockets of runs, each of its own user; not to be listed
  std::filesystem::path tmp;          // work/tmp, 0755: the working directory of apps that name none
  std::filesystem::path run;          // home/run, 0700: the keeper's socket and journal
  std::filesystem::path config;       // home/config, 0755: templates that ship with the program
  std::filesystem::path templates;    // home/apps, 0755: definitions that ship with the program
  std::filesystem::path ssl;          // home/ssl, 0755; the private keys in it are 0600

  std::filesystem::path config_file;    // work/config/config.yaml
  std::filesystem::path security_file;  // work/config/security.yaml
  std::filesystem::path state_file;     // work/state.db
  std::filesystem::path key_file;       // work/config/secret.key, the key of secrets at rest
  std::filesystem::path jwt_file;       // work/config/jwt.secret, used while JWTSalt is empty
  std::filesystem::path psk_file;       // work/config/psk, for callers that are no users
  std::filesystem::path keeper_socket;  // home/run/keeper.sock
  std::filesystem::path log_file;       // work/server.log
  std::filesystem::path pid_file;       // home/appmesh.pid
};

// Pure, but for making a relative `home` absolute with the current directory.
[[nodiscard]] HomePaths home_paths(const std::filesystem::path& home);

// Creates the directories with the modes above. The mode of private ones is put right when they exist already; a
// symlink or a file in the place of a directory is an error, as is a private directory that belongs to another user.
[[nodiscard]] Result<void> make_home(const HomePaths& paths);

}  // namespace appmesh::store

#include "store/home_paths.h"

#include <cerrno>
#include <system_error>

#include <sys/stat.h>

#include <unistd.h>

namespace appmesh::store {
namespace {

// `mode` is set exactly when the directory is made; later only private ones are put right, so that an administrator may
// open or close the public ones.
Result<void> make_directory(const std::filesystem::path& path, mode_t mode) {
  const bool is_private = (mode & 077) == 0;
  if (::mkdir(path.c_str(), mode) == 0) {
    if (::chmod(path.c_str(), mode) != 0) {  // the umask may have taken bits away
      return fail_errno(ErrorKind::internal, "chmod " + path.string(), errno);
    }
    return {};
  }
  if (errno != EEXIST) return fail_errno(ErrorKind::internal, "mkdir " + path.string(), errno);

  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return fail_errno(ErrorKind::internal, "stat " + path.string(), errno);
  if (!is_private && S_ISLNK(info.st_mode) && ::stat(path.c_str(), &info) != 0) {
    return fail_errno(ErrorKind::internal, "stat " + path.string(), errno);
  }
  if (!S_ISDIR(info.st_mode)) return fail(ErrorKind::internal, path.string() + " is not a directory");
  if (!is_private) return {};
  if (info.st_uid != ::geteuid()) {
    return fail(ErrorKind::internal, path.string() + " must belong to the daemon's user: it holds secrets");
  }
  if ((info.st_mode & 07777) != mode && ::chmod(path.c_str(), mode) != 0) {
    return fail_errno(ErrorKind::internal, "chmod " + path.string(), errno);
  }
  return {};
}

}  // namespace

HomePaths home_paths(const std::filesystem::path& home) {
  HomePaths paths;
  std::error_code ignored;
  paths.home = std::filesystem::absolute(home, ignored).lexically_normal();
  if (ignored) paths.home = home;
  if (!paths.home.has_filename() && paths.home.has_relative_path()) paths.home = paths.home.parent_path();
  paths.work = paths.home / "work";
  paths.work_config = paths.work / "config";
  paths.stdout_dir = paths.work / "stdout";
  paths.stdin_dir = paths.work / "stdin";
  paths.shell = paths.work / "shell";
  paths.apps = paths.work / "apps";
  paths.tmp = paths.work / "tmp";
  paths.notify = paths.work / "notify";
  paths.run = paths.work / "run";
  paths.config = paths.home / "config";
  paths.templates = paths.home / "apps";
  paths.ssl = paths.home / "ssl";
  paths.config_file = paths.work_config / "config.yaml";
  paths.security_file = paths.work_config / "security.yaml";
  paths.state_file = paths.work / "state.db";
  paths.key_file = paths.work_config / "secret.key";
  paths.jwt_file = paths.work_config / "jwt.secret";
  paths.psk_file = paths.work_config / "psk";
  paths.keeper_socket = paths.run / "keeper.sock";
  paths.log_file = paths.work / "server.log";
  paths.pid_file = paths.home / "appmesh.pid";
  return paths;
}

Result<void> make_home(const HomePaths& paths) {
  struct Wanted {
    const std::filesystem::path& path;
    mode_t mode;
  };
  std::error_code error;
  if (const auto parent = paths.home.parent_path(); !parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return fail_errno(ErrorKind::internal, "mkdir " + paths.home.parent_path().string(), error.value());

  // Not paths.apps: a folder of definitions that is missing must not be taken for one that is empty.
  const Wanted all[] = {
      {paths.home, 0755},      {paths.work, 0755},   {paths.work_config, 0700}, {paths.stdout_dir, 0700},
      {paths.stdin_dir, 0700}, {paths.shell, 0700},  {paths.tmp, 0755},         {paths.notify, 0711},
      {paths.run, 0700},       {paths.config, 0755}, {paths.templates, 0755},   {paths.ssl, 0755},
  };
  for (const auto& wanted : all) {
    if (auto made = make_directory(wanted.path, wanted.mode); !made) return made;
  }
  return {};
}

}  // namespace appmesh::store

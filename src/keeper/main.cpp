// appkeeper: the parent of every process that App Mesh runs. See docs/decisions/0002-appkeeper.md.
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fcntl.h>

#include "keeper/keeper.h"
#include "keeper/log.h"

namespace appmesh::keeper {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitTaken = 2;
constexpr int kExitUsage = 64;

constexpr char kUsage[] =
    "usage: appkeeper --home DIR [--detach]\n"
    "Owns the processes of App Mesh: starts them, signals them, reports how they ended.\n\n"
    "  --home DIR   works in DIR/run (made if need be): keeper.sock, keeper.journal, keeper.log\n"
    "  --detach     goes into the background; returns when the socket is ready\n"
    "  --start-limit MS  how long a start may take until its program runs: 3000\n"
    "  --limits TEXT     resource:soft:hard,... that what it starts shall have (its own are raised)\n"
    "  --version    prints the version\n"
    "  --help       prints this\n\n"
    "Exit codes: 0 told to end (SIGTERM) while no run lived, 1 failed, 2 another keeper has this home, 64 usage.\n";

struct Arguments {
  const char* home = nullptr;
  const char* resume = nullptr;  // of a re-exec: see Keeper::reexec
  const char* limits = nullptr;  // see parse_limits()
  long start_limit_ms = kSpawnTimeoutSeconds * 1000L;
  bool detach = false;
};

Keeper keeper;
char home_path[PATH_MAX];
char program_path[PATH_MAX];

int fail(const char* what, int error) {
  log("%s: %s", what, ::strerrordesc_np(error));
  return kExitFailed;
}

bool read_link(const char* link, char (&path)[PATH_MAX]) {
  const ssize_t length = ::readlink(link, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = 0;
  return true;
}

// HOME/run, made and private. -1 with errno.
int open_run_directory(const char* home) {
  const Descriptor directory{::open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!directory) return -1;
  char link[32];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", directory.get());
  if (!read_link(link, home_path)) return -1;
  if (::mkdirat(directory.get(), "run", 0700) != 0 && errno != EEXIST) return -1;
  Descriptor run{::openat(directory.get(), "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
  if (!run) return -1;
  struct stat status{};
  if (::fstat(run.get(), &status) != 0) return -1;
  if (status.st_uid != ::geteuid()) {
    errno = EPERM;  // whoever owns it could put another socket there
    return -1;
  }
  if ((status.st_mode & 077) != 0 && ::fchmod(run.get(), 0700) != 0) return -1;
  return run.release();
}

// The parent stays to tell its caller whether the socket is ready; the grandchild goes on with the write end.
Descriptor detach() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) ::_exit(fail("pipe", errno));
  Descriptor reader{ends[0]};
  Descriptor writer{ends[1]};
  const pid_t child = ::fork();
  if (child < 0) ::_exit(fail("fork", errno));
  if (child > 0) {
    writer.reset();
    char code = kExitFailed;
    const ssize_t got = ::read(reader.get(), &code, 1);
    ::waitpid(child, nullptr, 0);
    ::_exit(got == 1 ? code : kExitFailed);
  }
  ::setsid();
  const pid_t grandchild = ::fork();
  if (grandchild != 0) ::_exit(grandchild < 0 ? kExitFailed : 0);
  return writer;
}

// What happens from now on goes to the log, and nobody's terminal or pipe is held.
void leave_standard_streams(int run_directory) {
  const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  if (!null) return;
  for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null.get(), number);
  log_into(run_directory);
}

bool resume(const char* state, KeeperOptions& options) {
  unsigned long long request = 0, soft = 0, hard = 0;
  const int fields = std::sscanf(state, "%d,%d,%d,%llu,%llu,%llu", &options.listener, &options.connection,
                                 &options.journal, &request, &soft, &hard);
  if (fields != 4 && fields != 6) return false;
  for (const int descriptor : {options.listener, options.connection, options.journal}) {
    if (descriptor < 3 || ::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) return false;
  }
  options.reexec_request = request;
  // Of a program that knew this limit only.
  if (fields == 6)
    options.child_limits = {.items = {{RLIMIT_NOFILE, {.rlim_cur = soft, .rlim_max = hard}}}, .count = 1};
  return true;
}

// Whoever started us may have left us anything: descriptors closed, or open that are none of ours.
void settle_descriptors(bool resumed) {
  // Received descriptors must never be 0, 1 or 2: children dup onto these.
  int number = 0;
  do number = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  while (number >= 0 && number < 3);
  Descriptor{number}.reset();
  if (!resumed) ::syscall(SYS_close_range, 3U, ~0U, 0U);
}

int serve(const Arguments& arguments) {
  settle_descriptors(arguments.resume != nullptr);

  KeeperOptions options;
  options.spawn_timeout_us = arguments.start_limit_ms * INT64_C(1000);
  options.run_directory = open_run_directory(arguments.home);
  if (options.run_directory < 0) return fail("home or its run directory", errno);
  options.home = home_path;
  if (!read_link("/proc/self/exe", program_path)) return fail("/proc/self/exe", errno);
  options.program = program_path;

  if (arguments.limits != nullptr && !parse_limits(arguments.limits, options.child_limits))
    return fail("--limits", EINVAL);
  if (arguments.resume != nullptr && !resume(arguments.resume, options)) return fail("--resume", EINVAL);
  raise_own_limits(options.child_limits);

  Descriptor ready;
  if (arguments.detach) ready = detach();
  const auto report = [&](int code) {
    const char byte = static_cast<char>(code);
    if (ready) (void)!::write(ready.get(), &byte, 1);
    return code;
  };
  ::umask(077);
  if (::chdir("/") != 0) return report(fail("chdir", errno));
  ::prctl(PR_SET_NAME, "appkeeper");
  // Environments that pass through may hold secrets: no core dump, and nobody but root reads our memory.
  ::prctl(PR_SET_DUMPABLE, 0);
  // Grandchildren whose parents die come to us instead of to init.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) return report(fail("child subreaper", errno));

  const char* step = "";
  if (const int error = keeper.open(options, step); error != 0) {
    if (error == EWOULDBLOCK) {
      log("another keeper has %s/run", home_path);
      return report(kExitTaken);
    }
    return report(fail(step, error));
  }
  if (arguments.detach) leave_standard_streams(options.run_directory);
  if (arguments.resume != nullptr && logs_into(options.run_directory)) log_into(options.run_directory);
  report(0);
  ready.reset();
  const int code = keeper.run();
  ::unlinkat(options.run_directory, kSocketName, 0);
  return code;
}

int parse(int count, char** values, Arguments& arguments) {
  for (int i = 1; i < count; ++i) {
    const char* const name = values[i];
    if (std::strcmp(name, "--version") == 0) {
      std::printf("appkeeper %s\n", APPMESH_VERSION);
      std::exit(0);
    }
    if (std::strcmp(name, "--help") == 0) {
      std::fputs(kUsage, stdout);
      std::exit(0);
    }
    if (std::strcmp(name, "--detach") == 0) {
      arguments.detach = true;
    } else if (std::strcmp(name, "--home") == 0 && i + 1 < count) {
      arguments.home = values[++i];
    } else if (std::strcmp(name, "--start-limit") == 0 && i + 1 < count &&
               (arguments.start_limit_ms = std::atol(values[i + 1])) > 0) {
      ++i;
    } else if (std::strcmp(name, "--limits") == 0 && i + 1 < count) {
      arguments.limits = values[++i];
    } else if (std::strcmp(name, "--resume") == 0 && i + 1 < count) {
      arguments.resume = values[++i];
    } else {
      std::fprintf(stderr, "appkeeper: %s: unknown or without its value\n%s", name, kUsage);
      return kExitUsage;
    }
  }
  if (arguments.home != nullptr) return 0;
  std::fprintf(stderr, "appkeeper: --home is missing\n%s", kUsage);
  return kExitUsage;
}

}  // namespace
}  // namespace appmesh::keeper

int main(int count, char** values) {
  appmesh::keeper::Arguments arguments;
  if (const int code = appmesh::keeper::parse(count, values, arguments); code != 0) return code;
  return appmesh::keeper::serve(arguments);
}

// appsvc: opens the daemon, then waits for signals until one of them ends it.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <span>

#include <sys/stat.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "core/version.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "platform/process_limits.h"

namespace {

using namespace appmesh;

// Whoever started us may have left us anything: the standard descriptors closed, others open, signals blocked or
// ignored, a directory that is gone. None of it may change how we work or reach what we start.
void settle() {
  int number = 0;
  do number = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  while (number >= 0 && number < 3);
  if (number >= 0) ::close(number);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::fcntl(standard, F_SETFD, 0);
  ::close_range(3, ~0U, 0);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  // A terminal or a file limit is a reason for an error of the call, never for an end or a stop of the daemon.
  for (const int ignored : {SIGPIPE, SIGXFSZ, SIGTTOU, SIGTTIN}) ::signal(ignored, SIG_IGN);
  ::umask(022);
  if (::chdir("/") != 0) fmt::print(stderr, "appsvc: chdir /: {}\n", ::strerror(errno));
  platform::raise_own_limits();
}

// Other threads inherit the mask: signals come to the main thread alone, which takes them one by one.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  ::pthread_sigmask(SIG_SETMASK, &signals, nullptr);
  return signals;
}

int serve(const daemon::CommandLine& line) {
  const sigset_t signals = block_signals();  // first: a terminal that goes away sends SIGHUP
  settle();
  // A heap per thread would cost megabytes and win nothing with so few threads.
  ::mallopt(M_ARENA_MAX, 2);

  auto daemon = daemon::Daemon::open(line);
  if (!daemon) {
    const Error& error = daemon.error();
    fmt::print(stderr, "appsvc: {}{}{}\n", error.message, error.cause.empty() ? "" : ": ", error.cause);
    return 1;
  }
  spdlog::info("appsvc {} serves {}", kVersion, line.home.string());
  while (true) {
    siginfo_t info{};
    const int number = ::sigwaitinfo(&signals, &info);
    if (number == SIGHUP) (*daemon)->reload();
    if (number == SIGTERM || number == SIGINT) break;
  }
  spdlog::info("appsvc ends, the applications go on");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto line = daemon::parse_command_line(std::span(argv, static_cast<std::size_t>(argc)));
    if (!line) {
      fmt::print(stderr, "appsvc: {}\n", line.error().message);
      return 2;
    }
    switch (line->action) {
      case daemon::CommandLine::Action::help:
        fmt::print("{}", daemon::help_text());
        return 0;
      case daemon::CommandLine::Action::version:
        fmt::print("appsvc {}\n", kVersion);
        return 0;
      case daemon::CommandLine::Action::run:
        break;
    }
    const int status = serve(*line);
    daemon::close_log();
    return status;
  } catch (const std::exception& error) {
    fmt::print(stderr, "appsvc: {}\n", error.what());
    return 1;
  }
}

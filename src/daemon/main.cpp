// appsvc: opens the daemon, then waits for signals until one of them ends it.
#include <csignal>
#include <exception>
#include <span>

#include <sys/resource.h>
#include <sys/stat.h>

#include <fmt/format.h>
#include <malloc.h>
#include <spdlog/spdlog.h>

#include "core/version.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/options.h"

namespace {

using namespace appmesh;

// Other threads inherit the mask: signals come to the main thread alone, which takes them one by one.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return signals;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int serve(const daemon::CommandLine& line) {
  const sigset_t signals = block_signals();
  raise_descriptor_limit();
  ::umask(022);
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

// The bare loop that a supervisor is measured against: posix_spawn and waitpid, nothing else, in N threads.
#include <iostream>
#include <stdexcept>

#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <spawn.h>

#include "bench/load.h"

extern char** environ;

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("posix_spawn and wait");
  int threads = 1;
  int count = 100;
  std::string command = "/bin/true";
  parser.add_option("--threads", threads)->check(CLI::Range(1, 256));
  parser.add_option("--count", count, "spawns of each thread")->check(CLI::Range(1, 1'000'000));
  parser.add_option("--command", command);
  CLI11_PARSE(parser, argc, argv);
  try {
    bench::print(bench::summary(bench::run_callers(threads, count, [&](int) {
      return [&](int) {
        char* arguments[] = {command.data(), nullptr};
        pid_t pid = 0;
        if (::posix_spawn(&pid, command.c_str(), nullptr, nullptr, arguments, environ) != 0) {
          throw std::runtime_error("posix_spawn failed");
        }
        int status = 0;
        if (::waitpid(pid, &status, 0) != pid || status != 0) throw std::runtime_error("the command failed");
      };
    })));
  } catch (const std::exception& e) {
    std::cerr << "bench_spawn: " << e.what() << "\n";
    return 1;
  }
  return 0;
}

// N callers, each with a connection of its own, run a command synchronously again and again.
#include <iostream>
#include <memory>
#include <stdexcept>

#include "bench/daemon_options.h"
#include "bench/load.h"

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("syncrun load");
  bench::DaemonOptions daemon;
  daemon.add_to(parser);
  int callers = 1;
  int count = 100;
  int warm_up = 5;
  std::string command = "/bin/true";
  parser.add_option("--callers", callers)->check(CLI::Range(1, 256));
  parser.add_option("--count", count, "calls of each caller")->check(CLI::Range(1, 1'000'000));
  parser.add_option("--warm-up", warm_up);
  parser.add_option("--command", command);
  CLI11_PARSE(parser, argc, argv);
  try {
    bench::print(bench::summary(bench::run_callers(callers, count, [&](int) {
      auto client = std::make_shared<Client>(daemon.connect());
      const auto call = [client, command](int) {
        const auto result = client->run_sync(App({}, command));
        if (result.exit_code != 0) throw std::runtime_error("the command failed");
      };
      for (int i = 0; i < warm_up; ++i) call(i);
      return call;
    })));
  } catch (const std::exception& e) {
    std::cerr << "bench_syncrun: " << e.what() << "\n";
    return 1;
  }
  return 0;
}

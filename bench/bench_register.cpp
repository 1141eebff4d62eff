// N callers register apps; the clock stops when the daemon says that every one of them runs.
#include <iostream>
#include <memory>
#include <set>
#include <stdexcept>
#include <thread>

#include "bench/daemon_options.h"
#include "bench/load.h"

namespace {

std::size_t running(appmesh::Client& client, const std::string& prefix) {
  std::size_t count = 0;
  for (const auto& app : client.list_apps()) {
    if (app.name().starts_with(prefix) && app.pid().value_or(0) > 0) ++count;
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("register load");
  bench::DaemonOptions daemon;
  daemon.add_to(parser);
  int callers = 8;
  int apps = 1000;
  int timeout_seconds = 120;
  std::string prefix = "bench-";
  std::string command = "/bin/sleep 1000000";
  parser.add_option("--callers", callers)->check(CLI::Range(1, 256));
  parser.add_option("--apps", apps)->check(CLI::Range(1, 100'000));
  parser.add_option("--prefix", prefix);
  parser.add_option("--command", command);
  parser.add_option("--timeout", timeout_seconds);
  CLI11_PARSE(parser, argc, argv);
  try {
    const auto start = bench::Clock::now();
    const int each = apps / callers;
    const int extra = apps % callers;
    // The first `extra` apps go first and alone, so that every caller has the same number.
    auto first = daemon.connect();
    const auto add = [&](Client& client, int number) {
      App app(prefix + std::to_string(number), command);
      app.set_exit_behavior("restart");
      client.add_app(app);
    };
    for (int i = 0; i < extra; ++i) add(first, i);
    const auto load = bench::run_callers(callers, each, [&](int caller) {
      auto client = std::make_shared<Client>(daemon.connect());
      return [client, caller, each, extra, &add](int i) { add(*client, extra + caller * each + i); };
    });
    const auto registered = std::chrono::duration<double>(bench::Clock::now() - start).count();
    const auto limit = start + std::chrono::seconds(timeout_seconds);
    while (running(first, prefix) < static_cast<std::size_t>(apps)) {
      if (bench::Clock::now() > limit) throw std::runtime_error("not all apps run within the time limit");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    auto result = bench::summary(load);
    result["registered_seconds"] = registered;
    result["running_seconds"] = std::chrono::duration<double>(bench::Clock::now() - start).count();
    bench::print(result);
  } catch (const std::exception& e) {
    std::cerr << "bench_register: " << e.what() << "\n";
    return 1;
  }
  return 0;
}

// N callers, each with a TCP connection of its own, give tasks to workers and wait for the answers.
#include <cstdlib>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>

#include "bench/load.h"
#include "bench/task_connection.h"

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("task load");
  int port = 6059, callers = 1, count = 1000, warm_up = 50, bytes = 128;
  std::string ca;
  std::vector<std::string> apps;
  parser.add_option("--port", port);
  parser.add_option("--ca", ca)->required();
  parser.add_option("--app", apps, "callers are spread over them")->required();
  parser.add_option("--callers", callers)->check(CLI::Range(1, 256));
  parser.add_option("--count", count, "calls of each caller")->check(CLI::Range(1, 10'000'000));
  parser.add_option("--warm-up", warm_up);
  parser.add_option("--bytes", bytes);
  CLI11_PARSE(parser, argc, argv);
  const char* token = std::getenv("APPMESH_BENCH_TOKEN");
  if (token == nullptr) {
    std::cerr << "bench_tasks: APPMESH_BENCH_TOKEN is not set\n";
    return 2;
  }
  try {
    bench::print(bench::summary(bench::run_callers(callers, count, [&](int caller) {
      auto connection = std::make_shared<bench::TaskConnection>(port, ca);
      const std::string path = "/appmesh/app/" + apps[static_cast<std::size_t>(caller) % apps.size()] + "/task";
      const std::string payload(static_cast<std::size_t>(bytes), static_cast<char>('a' + caller % 26));
      const auto call = [connection, path, payload, token](int) {
        connection->add("POST", path, {{"Authorization", token}}, {{"timeout", "60"}}, payload);
        connection->flush();
        const wire::Response& answer = connection->next();
        if (answer.http_status != 200 || answer.body != payload)
          throw std::runtime_error("answered " + std::to_string(answer.http_status) + " " + std::string(answer.body));
      };
      for (int i = 0; i < warm_up; ++i) call(i);
      return call;
    })));
  } catch (const std::exception& error) {
    std::cerr << "bench_tasks: " << error.what() << "\n";
    return 1;
  }
  return 0;
}

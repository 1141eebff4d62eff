// A worker that runs as an app of our daemon and gives every task back as its answer, over TCP. The answer and the next
// fetch leave together: the daemon takes requests of one connection in order, and nothing depends on the PUT's status.
#include <algorithm>
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>

#include "bench/task_connection.h"

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("task worker");
  int port = 6059;
  int slots = 1;
  std::string ca;
  parser.add_option("--port", port);
  parser.add_option("--ca", ca)->required();
  parser.add_option("--slots", slots, "tasks that it has in hand at once")->check(CLI::Range(1, 64));
  CLI11_PARSE(parser, argc, argv);
  const char* key = std::getenv("APP_MESH_PROCESS_KEY");
  const char* app = std::getenv("APP_MESH_APPLICATION_NAME");
  if (key == nullptr || app == nullptr) {
    std::cerr << "bench_task_worker: runs as an app only\n";
    return 2;
  }
  try {
    bench::TaskConnection connection(port, ca);
    const std::string path = std::string("/appmesh/app/") + app + "/task";
    std::vector<std::string> numbers;
    for (int slot = 0; slot < slots; ++slot) numbers.push_back(std::to_string(slot));
    std::vector<std::vector<wire::TextPair>> queries;
    for (const std::string& number : numbers) queries.push_back({{"process_key", key}, {"slot", number}});
    // A slot's fetch is known by its number.
    std::vector<std::string> fetches(static_cast<std::size_t>(slots));
    const auto fetch = [&](std::size_t slot) {
      connection.add("GET", path, {}, queries[slot], {});
      fetches[slot] = std::to_string(connection.last());
    };
    for (std::size_t slot = 0; slot < fetches.size(); ++slot) fetch(slot);
    connection.flush();
    std::string payload;
    for (;;) {
      const wire::Response& answer = connection.next();
      const auto found = std::ranges::find(fetches, answer.uuid);
      if (found != fetches.end()) {  // else it is of a PUT
        const auto slot = static_cast<std::size_t>(found - fetches.begin());
        if (answer.http_status == 200) {
          payload = answer.body;
          connection.add("PUT", path, {}, queries[slot], payload);
        } else if (answer.http_status != 503) {
          return 1;
        }
        fetch(slot);
      }
      if (!connection.has_next()) connection.flush();
    }
  } catch (const std::exception& error) {
    std::cerr << "bench_task_worker: " << error.what() << "\n";
    return 1;
  }
}

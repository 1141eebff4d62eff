// A worker that runs as an app of our daemon and gives every task back as its answer, over TCP. The answer and the next
// fetch leave together: the daemon takes requests of one connection in order, and nothing depends on the PUT's status.
#include <cstdlib>
#include <iostream>

#include <CLI/CLI.hpp>

#include "bench/task_connection.h"

int main(int argc, char** argv) {
  using namespace appmesh;
  CLI::App parser("task worker");
  int port = 6059;
  std::string ca;
  parser.add_option("--port", port);
  parser.add_option("--ca", ca)->required();
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
    const std::vector<wire::TextPair> query{{"process_key", key}};
    std::string payload;
    connection.add("GET", path, {}, query, {});
    connection.flush();
    std::string fetch = std::to_string(connection.last());
    for (;;) {
      const wire::Response& answer = connection.next();
      if (answer.uuid != fetch) continue;  // of a PUT
      if (answer.http_status == 200) {
        payload = answer.body;
        connection.add("PUT", path, {}, query, payload);
      } else if (answer.http_status != 503) {
        return 1;
      }
      connection.add("GET", path, {}, query, {});
      fetch = std::to_string(connection.last());
      connection.flush();
    }
  } catch (const std::exception& error) {
    std::cerr << "bench_task_worker: " << error.what() << "\n";
    return 1;
  }
}

// A worker that adds up the numbers it is given. The daemon runs it: `appc add -a sums -c "example_worker URL CA"`.
#include <iostream>
#include <sstream>

#include <appmesh/error.h>
#include <appmesh/worker.h>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    appmesh::Worker worker({.url = argv[1], .transport = {.tls = {appmesh::TlsOptions::Verify::kPath, argv[2]}}});
    worker.serve([](const std::string& payload) {
      std::istringstream numbers(payload);
      long sum = 0;
      for (long number = 0; numbers >> number;) sum += number;
      return std::to_string(sum);
    });
    return 0;  // a newer process does the work now
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

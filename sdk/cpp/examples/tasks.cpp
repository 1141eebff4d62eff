// Gives ten tasks to the worker of an app, as coroutines: example_tasks URL CA USER PASSWORD APP
#include <iostream>
#include <vector>

#include <appmesh/coroutine.h>

namespace {

appmesh::Task<std::string> sum(appmesh::Background& background, std::string app, int upto) {
  std::string numbers;
  for (int number = 1; number <= upto; ++number) numbers += std::to_string(number) + " ";
  const std::string answer =
      co_await background([&](appmesh::Client& client) { return client.run_task(app, numbers); });
  co_return "1.." + std::to_string(upto) + " = " + answer;
}

appmesh::Task<> all(appmesh::Background& background, std::string app) {
  for (int upto = 1; upto <= 10; ++upto) std::cout << co_await sum(background, app, upto) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    appmesh::Client client({.url = argv[1], .transport = {.tls = {appmesh::TlsOptions::Verify::kPath, argv[2]}}});
    client.login(argv[3], argv[4]);
    appmesh::Background background(client, 4);
    appmesh::sync_wait(all(background, argv[5]));
    return 0;
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

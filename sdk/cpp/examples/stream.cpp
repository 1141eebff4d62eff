// Runs a command on the daemon and prints its output as it comes: example_stream URL CA USER PASSWORD COMMAND
#include <iostream>

#include <appmesh/client.h>

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    appmesh::Client client({.url = argv[1], .transport = {.tls = {appmesh::TlsOptions::Verify::kPath, argv[2]}}});
    client.login(argv[3], argv[4]);
    appmesh::App app({}, argv[5]);
    app.set("shell", true);
    const appmesh::Run run = client.run_async(app);
    const auto code = client.wait(run, [](std::string_view bytes, std::uint64_t) { std::cout << bytes << std::flush; });
    return code.value_or(1);
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

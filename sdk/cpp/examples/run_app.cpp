// Logs in, runs one shell command on the daemon and prints what it wrote: example_run_app USER PASSWORD [COMMAND]
#include <iostream>

#include <appmesh/client.h>

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: example_run_app USER PASSWORD [COMMAND]\n";
    return 2;
  }
  try {
    appmesh::Client client;  // https://127.0.0.1:6060, trusting the CA of the local daemon
    if (client.login(argv[1], argv[2])) throw appmesh::ClientError(appmesh::ErrorKind::kUsage, "a TOTP code is needed");
    appmesh::App app({}, argc > 3 ? argv[3] : "uname -a");
    app.set("shell", true);
    const appmesh::SyncResult result = client.run_sync(app, {.timeout = std::chrono::seconds{60}});
    std::cout << result.output;
    return result.exit_code.value_or(1);
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

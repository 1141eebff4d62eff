// Logs in, runs one shell command on the daemon, prints what it wrote and ends with its exit code:
//   run_app URL CA_FILE USER PASSWORD [COMMAND]
#include <iostream>

#include <appmesh/client.h>

int main(int argc, char** argv) {
  if (argc < 5) {
    std::cerr << "usage: run_app URL CA_FILE USER PASSWORD [COMMAND]\n";
    return 2;
  }
  try {
    // Without options: https://127.0.0.1:6060, trusting the CA of the local daemon.
    appmesh::Client client(
        {.url = argv[1], .transport = {.tls = {.verify = appmesh::TlsOptions::Verify::kPath, .ca_path = argv[2]}}});
    if (client.login(argv[3], argv[4])) throw appmesh::ClientError(appmesh::ErrorKind::kUsage, "a TOTP code is needed");
    appmesh::App app({}, argc > 5 ? argv[5] : "uname -a");
    app.set("shell", true);
    const appmesh::SyncResult result = client.run_sync(app, {.timeout = std::chrono::seconds{60}});
    std::cout << result.output;
    return result.exit_code.value_or(1);
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

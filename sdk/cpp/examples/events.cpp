// Registers an app and prints what happens to it until it has ended: example_events tcp://HOST:PORT CA USER PASSWORD
// COMMAND
#include <iostream>

#include <appmesh/client.h>
#include <boost/json/serialize.hpp>

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    appmesh::Client client({.url = argv[1], .transport = {.tls = {appmesh::TlsOptions::Verify::kPath, argv[2]}}});
    client.login(argv[3], argv[4]);
    const appmesh::App app("watched", argv[5]);
    auto subscription = client.add_app_and_subscribe(app, {"START", "STDOUT", "EXIT"});
    while (const auto event = subscription.next()) {
      std::cout << event->sequence << ' ' << event->type << ' ' << boost::json::serialize(event->data) << std::endl;
      if (event->type == "EXIT" || event->type == appmesh::kDisconnectedEvent) break;
    }
    client.delete_app(app.name());
    return 0;
  } catch (const appmesh::ClientError& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}

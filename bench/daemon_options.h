// How a load program reaches the daemon: --url, --ca, and the token from the environment, where `ps` does not show it.
#pragma once

#include <cstdlib>
#include <string>

#include <CLI/CLI.hpp>
#include <appmesh/client.h>

namespace appmesh::bench {

struct DaemonOptions {
  std::string url = "https://127.0.0.1:6060";
  std::string ca;

  void add_to(CLI::App& parser) {
    parser.add_option("--url", url);
    parser.add_option("--ca", ca, "CA file that signed the daemon's certificate")->required();
  }

  // A client of its own for the calling thread.
  [[nodiscard]] Client connect() const {
    ClientOptions options;
    options.url = url;
    options.transport.tls.verify = TlsOptions::Verify::kPath;
    options.transport.tls.ca_path = ca;
    if (const char* token = std::getenv("APPMESH_BENCH_TOKEN")) options.token = token;
    return Client(std::move(options));
  }
};

}  // namespace appmesh::bench

#include "cli/host_url.h"

#include <string>

#include <appmesh/error.h>

#include "cli/exit_code.h"

namespace appmesh::cli {

Url map_host_url(std::string_view text) {
  constexpr std::uint16_t kWebSocketPort = 6058;
  constexpr std::uint16_t kTcpPort = 6059;
  try {
    if (text.starts_with("wss://")) {
      Url url = Url::parse(text.substr(6), kWebSocketPort);
      if (url.port == kWebSocketPort) url.port = Url::kDefaultPort;
      return url;
    }
    if (text.starts_with("tcp://") || text.starts_with("tls://")) {
      Url url = Url::parse(text.substr(6), kTcpPort);
      if (url.port != kTcpPort) {
        throw CliError(kUsage, "cannot tell the HTTPS port behind " + std::string(text), "give -H https://HOST:PORT");
      }
      url.port = Url::kDefaultPort;
      return url;
    }
    return Url::parse(text);
  } catch (const ClientError& error) {
    throw CliError(kUsage, error.what());
  }
}

}  // namespace appmesh::cli

// Which HTTPS address stands behind the URL that a user gave. A pure function; any thread.
#pragma once

#include <string_view>

#include <appmesh/url.h>

namespace appmesh::cli {

// https:// as it is; wss://host[:6058] and tcp://host[:6059] become https://host:6060 of the same daemon, wss with
// another port the same port (it speaks HTTPS too). Throws CliError(kUsage) for anything else.
Url map_host_url(std::string_view text);

}  // namespace appmesh::cli

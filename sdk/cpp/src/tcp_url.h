// tcp://host[:port], the address of a daemon's TCP port. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include <appmesh/url.h>

namespace appmesh::detail {

inline constexpr std::uint16_t kTcpPort = 6059;
inline constexpr std::string_view kTcpScheme = "tcp://";

inline bool is_tcp_url(std::string_view url) {
  return url.starts_with(kTcpScheme);
}

// The scheme may be left out. Throws ClientError(kUsage).
inline Url parse_tcp_url(std::string_view url) {
  if (is_tcp_url(url)) url.remove_prefix(kTcpScheme.size());
  return Url::parse(url, kTcpPort);
}

}  // namespace appmesh::detail

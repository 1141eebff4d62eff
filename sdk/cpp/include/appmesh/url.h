// Address of a daemon, the encodings that its routes need, and whether a name means this machine. Values and pure
// functions (is_local_host asks the kernel for the host name); callable from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace appmesh {

struct Url {
  static constexpr std::uint16_t kDefaultPort = 6060;

  std::string host;  // an IPv6 address without brackets
  std::uint16_t port = kDefaultPort;

  // https://host[:port][/], host[:port], [v6]:port. Throws ClientError(kUsage) that says what is wrong.
  static Url parse(std::string_view text, std::uint16_t default_port = kDefaultPort);
  [[nodiscard]] std::string authority() const;  // host:port with brackets where needed
  [[nodiscard]] std::string text() const;       // https://authority

  bool operator==(const Url&) const = default;
};

// RFC 3986: everything but unreserved characters is escaped.
std::string percent_encode(std::string_view text);
std::string base64_encode(std::string_view bytes);
// True for localhost, the loopback addresses and the machine's own host name.
bool is_local_host(std::string_view host);

}  // namespace appmesh

#include <algorithm>
#include <array>
#include <charconv>

#include <appmesh/error.h>
#include <appmesh/url.h>
#include <unistd.h>

namespace appmesh {
namespace {

[[noreturn]] void bad(std::string_view text, const char* why) {
  throw ClientError(ErrorKind::kUsage, "bad URL '" + std::string(text) + "': " + why);
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
         c == '_' || c == ':' || c == '%';
}

}  // namespace

Url Url::parse(std::string_view text, std::uint16_t default_port) {
  std::string_view rest = text;
  if (const std::size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    if (rest.substr(0, scheme) != "https") bad(text, "only https:// is spoken here");
    rest.remove_prefix(scheme + 3);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    if (rest.size() > slash + 1) bad(text, "a path is not allowed");
    rest = rest.substr(0, slash);
  }
  Url url;
  url.port = default_port;
  std::string_view port;
  bool has_port = false;
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) bad(text, "']' is missing");
    url.host = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) bad(text, "something other than a port follows ']'");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else if (std::count(rest.begin(), rest.end(), ':') > 1) {
    url.host = rest;  // a bare IPv6 address
  } else {
    const std::size_t colon = rest.find(':');
    url.host = rest.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = rest.substr(colon + 1);
  }
  if (url.host.empty()) bad(text, "no host");
  if (url.host.size() > 253 || !std::all_of(url.host.begin(), url.host.end(), is_host_char)) bad(text, "bad host name");
  if (has_port) {
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0)
      bad(text, "the port is not 1..65535");
  }
  return url;
}

std::string Url::authority() const {
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string Url::text() const {
  return "https://" + authority();
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
        c == '.' || c == '~') {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

std::string base64_encode(std::string_view bytes) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out.push_back(k <= count ? kAlphabet[group >> (18 - 6 * k) & 63] : '=');
    }
  }
  return out;
}

bool is_local_host(std::string_view host) {
  if (host == "localhost" || host == "127.0.0.1" || host == "::1") return true;
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' && host == name.data();
}

}  // namespace appmesh

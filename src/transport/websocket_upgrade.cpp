#include "transport/websocket_upgrade.h"

#include <algorithm>
#include <array>
#include <functional>
#include <string_view>

#include <openssl/evp.h>

namespace appmesh::transport {
namespace {

constexpr std::string_view kKeySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kKeyBytes = 24;  // base64 of 16

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool equal_no_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

// Is `word` one of the values, over all headers of that name? RFC 9110 section 5.6.1.
template <typename Equal>
bool lists(const api::Request& request, std::string_view name, std::string_view word, Equal equal) {
  for (const auto& [key, value] : request.headers) {
    if (!equal_no_case(key, name)) continue;
    for (std::string_view rest = value; !rest.empty();) {
      const std::size_t end = rest.find(',');
      std::string_view item = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
      while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
      if (equal(item, word)) return true;
    }
  }
  return false;
}

bool is_key(std::string_view key) {
  const auto is_base64 = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  return key.size() == kKeyBytes && key.ends_with("==") && std::ranges::all_of(key.substr(0, 22), is_base64);
}

std::string accept_key(std::string_view key) {
  const std::string text = std::string(key) + std::string(kKeySuffix);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), hash.data(), &length, EVP_sha1(), nullptr) != 1) return {};
  std::array<unsigned char, 32> out{};
  const int size = EVP_EncodeBlock(out.data(), hash.data(), static_cast<int>(length));
  return {out.begin(), out.begin() + size};
}

}  // namespace

bool asks_for_websocket(const api::Request& request) {
  return request.method == api::Method::get && lists(request, "upgrade", "websocket", equal_no_case);
}

bool names_protocol(const api::Request& request, std::string_view protocol) {
  return lists(request, "sec-websocket-protocol", protocol, std::equal_to<std::string_view>());
}

std::expected<std::string, api::Response> accept_websocket(const api::Request& request, std::string_view protocol) {
  const auto refuse = [](std::string_view why, int status = 400) {
    return std::unexpected(api::message_response(why, status));
  };
  if (!lists(request, "connection", "upgrade", equal_no_case)) return refuse("the Connection header lacks 'Upgrade'");
  if (request.header("sec-websocket-version").value_or("") != "13") {
    auto refusal = refuse("only version 13 of WebSocket is spoken", 426);
    refusal.error().add_header("Sec-WebSocket-Version", "13").add_header("Upgrade", "websocket");
    return refusal;
  }
  const std::string_view key = request.header("sec-websocket-key").value_or("");
  if (!is_key(key)) return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
  const bool names_one = request.header("sec-websocket-protocol").has_value();
  if (names_one && !names_protocol(request, protocol)) {
    return refuse("the only sub-protocol is " + std::string(protocol));
  }
  const std::string accepted = accept_key(key);
  if (accepted.empty()) return refuse("no SHA-1 for the handshake", 500);
  std::string head =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
      accepted;
  if (names_one) head.append("\r\nSec-WebSocket-Protocol: ").append(protocol);
  return head + "\r\n\r\n";
}

}  // namespace appmesh::transport

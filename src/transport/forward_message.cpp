#include "transport/forward_message.h"

#include <algorithm>
#include <array>
#include <span>

#include "api/body.h"
#include "api/forwarder.h"

namespace appmesh::transport {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool is_one_of(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::any_of(names, [&](std::string_view each) { return equal_no_case(name, each); });
}

bool is_token(std::string_view name) {  // RFC 9110 section 5.6.2
  constexpr std::string_view kSpecial = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || kSpecial.find(c) != std::string_view::npos;
  });
}

constexpr std::array<std::string_view, 16> kOfThisConnection = {"connection",
                                                                "keep-alive",
                                                                "proxy-connection",
                                                                "proxy-authorization",
                                                                "te",
                                                                "trailer",
                                                                "transfer-encoding",
                                                                "upgrade",
                                                                "expect",
                                                                "content-length",
                                                                "host",
                                                                "cookie",
                                                                "origin",
                                                                "referer",
                                                                "x-target-host",
                                                                "x-forward-hops"};

constexpr std::array<std::string_view, 10> kAnswerHeaders = {"authorization", "www-authenticate", "content-disposition",
                                                             "content-range", "accept-ranges",    "cache-control",
                                                             "pragma",        "location",         "etag",
                                                             "last-modified"};

// Names that the Connection header makes its own.
std::vector<std::string_view> connection_names(const api::Request& request) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : request.headers) {
    if (!equal_no_case(name, "connection")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t end = rest.find(',');
      std::string_view item = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      while (item.starts_with(' ')) item.remove_prefix(1);
      while (item.ends_with(' ')) item.remove_suffix(1);
      if (!item.empty()) names.push_back(item);
    }
  }
  return names;
}

void append_encoded(std::string& out, std::string_view text, std::string_view kept) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
    if (plain || kept.find(c) != std::string_view::npos) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
}

void append_target(std::string& out, const api::Request& request) {
  append_encoded(out, request.path, "/-._~%!$&'()*+,;=:@");
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    out.push_back(separator);
    append_encoded(out, name, "-._~");
    out.push_back('=');
    append_encoded(out, value, "-._~");
    separator = '&';
  }
}

}  // namespace

bool equal_no_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::vector<api::NameValue> forward_headers(const api::Request& request, unsigned hops) {
  const auto own = connection_names(request);
  std::vector<api::NameValue> headers;
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name) || is_one_of(name, kOfThisConnection) || is_one_of(name, own)) continue;
    headers.emplace_back(name, value);
  }
  if (!request.header("authorization")) {
    if (const auto token = request.token()) headers.emplace_back("Authorization", "Bearer " + std::string(*token));
  }
  headers.emplace_back(api::kHopsHeader, std::to_string(hops));
  return headers;
}

std::string http_head(const api::Request& request, const ForwardRoute& route, unsigned hops) {
  std::string out;
  out.reserve(1024);
  out.append(api::to_string(request.method)).push_back(' ');
  append_target(out, request);
  out.append(" HTTP/1.1\r\nHost: ").append(to_text(route.host, route.port)).append("\r\n");
  const bool encode_file_path = request.transport != api::TransportKind::https;
  for (const auto& [name, value] : forward_headers(request, hops)) {
    out.append(name).append(": ");
    // docs/wire.md#https: percent-encoded over HTTP, plain elsewhere.
    if (encode_file_path && equal_no_case(name, "x-file-path")) {
      append_encoded(out, value, "/-._~");
    } else {
      for (const char c : value) out.push_back(static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? ' ' : c);
    }
    out.append("\r\n");
  }
  if (request.body_reader) {
    // The other daemon judges the header before the caller has to send anything.
    out.append("Expect: 100-continue\r\n");
    if (const auto size = request.body_reader->size_bytes())
      out.append("Content-Length: ").append(std::to_string(*size)).append("\r\n");
    else
      out.append("Transfer-Encoding: chunked\r\n");
    return out.append("\r\n");
  }
  if (!request.body.empty() || request.method == api::Method::post || request.method == api::Method::put)
    out.append("Content-Length: ").append(std::to_string(request.body.size())).append("\r\n");
  return out.append("\r\n");
}

bool is_answer_header(std::string_view name) {
  const bool own = name.size() > 2 && lower(name[0]) == 'x' && name[1] == '-';
  return own ? !equal_no_case(name, "x-content-type-options") : is_one_of(name, kAnswerHeaders);
}

}  // namespace appmesh::transport

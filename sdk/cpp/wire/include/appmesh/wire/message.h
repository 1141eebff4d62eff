// The two messages of the TCP and WebSocket transports, as msgpack maps. Input is taken leniently: any order, unknown
// keys ignored, missing and nil ones empty, texts as str or bin, numbers where a header's or a parameter's text
// belongs. A parsed message is views into the bytes that it was parsed from (and into itself for such numbers). Written
// messages end with their body, so that a large body is sent from where it lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appmesh/wire/msgpack.h"

namespace appmesh::wire {

using TextPair = std::pair<std::string_view, std::string_view>;

inline constexpr std::size_t kMaxTextPairs = 256;        // headers or query parameters of one message
inline constexpr std::size_t kMaxTextBytes = 64 * 1024;  // uuid, path, method, type together with headers and query

struct Request {
  std::string_view uuid;
  std::string_view request_uri;
  std::string_view http_method;
  std::string_view client_addr;
  std::string_view body;
  std::vector<TextPair> headers;
  std::vector<TextPair> query;

  // Numbers as texts. A request that is parsed into again keeps its memory.
  std::vector<std::unique_ptr<std::string>> made;
};

struct Response {
  std::string_view uuid;
  std::string_view request_uri;
  int http_status = 0;
  std::string_view body_msg_type;
  std::string_view body;
  std::vector<TextPair> headers;

  std::vector<std::unique_ptr<std::string>> made;
};

// Empty when `bytes` are one message; else what is wrong with them, a text that lives for ever.
[[nodiscard]] std::string_view parse_request(std::string_view bytes, Request& request);
[[nodiscard]] std::string_view parse_response(std::string_view bytes, Response& response);

template <typename Pairs>  // of anything that converts to std::string_view
void append_text_map(std::string& out, const Pairs& pairs) {
  append_map_head(out, static_cast<std::uint32_t>(std::size(pairs)));
  for (const auto& [name, value] : pairs) {
    append_text(out, name);
    append_text(out, value);
  }
}

// A whole message but for the bytes of its body, which must follow. uuid, request_uri, status and type are used of
// `response`, and uuid, request_uri, method and client_addr of `request`.
template <typename Pairs>
void append_response_head(std::string& out, const Response& response, const Pairs& headers, std::uint32_t body_bytes) {
  append_map_head(out, 6);
  append_text(out, "uuid");
  append_text(out, response.uuid);
  append_text(out, "request_uri");
  append_text(out, response.request_uri);
  append_text(out, "http_status");
  append_integer(out, response.http_status);
  append_text(out, "body_msg_type");
  append_text(out, response.body_msg_type);
  append_text(out, "headers");
  append_text_map(out, headers);
  append_text(out, "body");
  append_binary_head(out, body_bytes);
}

template <typename Headers, typename Query>
void append_request_head(std::string& out, const Request& request, const Headers& headers, const Query& query,
                         std::uint32_t body_bytes) {
  append_map_head(out, 7);
  append_text(out, "uuid");
  append_text(out, request.uuid);
  append_text(out, "request_uri");
  append_text(out, request.request_uri);
  append_text(out, "http_method");
  append_text(out, request.http_method);
  append_text(out, "client_addr");
  append_text(out, request.client_addr);
  append_text(out, "headers");
  append_text_map(out, headers);
  append_text(out, "query");
  append_text_map(out, query);
  append_text(out, "body");
  append_binary_head(out, body_bytes);
}

}  // namespace appmesh::wire

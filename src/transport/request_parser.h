// Bytes to one HTTP/1.x request (RFC 9112), with Beast's parser inside but out of sight: compiling it is expensive.
// Made when the first byte of a request arrives; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/request.h"

namespace appmesh::transport {

struct ParserLimits {
  std::uint32_t header_bytes = 64UL * 1024;
  std::uint32_t header_count = 256;
  std::uint64_t body_bytes = 100UL * 1024 * 1024;
  bool plus_is_space = true;  // in a query
};

// What is known of the body before the first byte of it.
struct BodyRule {
  std::uint64_t max_bytes = 0;
  bool streamed = false;  // taken by take_body() while it comes
};

struct BadRequest {
  int status = 400;
  std::string message;
};

class RequestParser {
 public:
  // Asked once, when the header is complete.
  using BodyRuleOf = std::function<BodyRule(const api::Request&)>;

  explicit RequestParser(const ParserLimits& limits, BodyRuleOf body_rule_of = {});
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes from the front of `input` and returns how much; the rest must come again with more behind it, or belongs to
  // the next request when done(). After an error the connection cannot go on. Errors: 400, 413 (body), 431 (header).
  [[nodiscard]] std::expected<std::size_t, BadRequest> feed(std::string_view input);

  [[nodiscard]] bool header_done() const;
  [[nodiscard]] bool done() const;
  [[nodiscard]] std::size_t body_bytes() const;  // so far and not taken

  // Good once header_done().
  [[nodiscard]] bool keep_alive() const;
  [[nodiscard]] bool is_http_1_0() const;
  [[nodiscard]] bool expects_continue() const;
  [[nodiscard]] bool is_streamed() const;
  [[nodiscard]] std::optional<std::uint64_t> announced_body_bytes() const;

  // Once, when done(), or when header_done() and the body is streamed; peer, id and transport are the caller's to set.
  [[nodiscard]] api::Request take();
  // Of a streamed one: what has come since the last call, in place of what `into` held. Its memory takes what comes
  // next.
  void take_body(std::string& into);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace appmesh::transport

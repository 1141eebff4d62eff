// Bytes of another HTTP/1.x server to its response, with Beast's parser inside but out of sight: the counterpart of
// RequestParser. Body bytes are handed out as they come, so a long one need not fit into memory. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/request.h"

namespace appmesh::transport {

class ResponseParser {
 public:
  ResponseParser();
  ~ResponseParser();
  ResponseParser(ResponseParser&&) noexcept;
  ResponseParser& operator=(ResponseParser&&) noexcept;

  // Takes all of `input`. Error: bad_gateway with the reason; the connection cannot go on. Bytes behind the end of the
  // response are counted in surplus_bytes().
  [[nodiscard]] Result<void> feed(std::string_view input);
  // The server closed the connection. Error: bad_gateway when that is not the end of the response.
  [[nodiscard]] Result<void> finish();

  [[nodiscard]] bool continued() const;  // "100 Continue" has come
  [[nodiscard]] bool started() const;    // a byte of an answer has come
  [[nodiscard]] bool header_done() const;
  [[nodiscard]] bool done() const;
  [[nodiscard]] std::size_t surplus_bytes() const;

  // Good once header_done().
  [[nodiscard]] int status() const;
  [[nodiscard]] const std::vector<api::NameValue>& headers() const;
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;
  [[nodiscard]] bool keep_alive() const;

  [[nodiscard]] std::string& body();  // received and not yet taken; the caller may empty it

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace appmesh::transport

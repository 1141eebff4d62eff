// multipart/form-data (RFC 7578) taken while it arrives, for one file: the bytes of the part named "file" come out
// piece by piece, other parts are read over. Memory is bounded by the longest piece that is fed plus 16 KiB. Pure; one
// thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace appmesh::api {

// The boundary of a Content-Type. Errors: invalid_argument when there is none, or one that RFC 2046 does not allow.
[[nodiscard]] Result<std::string> multipart_boundary(std::string_view content_type);
[[nodiscard]] bool is_multipart(std::string_view content_type);

class MultipartParser {
 public:
  explicit MultipartParser(const std::string& boundary) : delimiter_("\r\n--" + boundary), buffer_("\r\n") {}

  void feed(std::string_view input);

  // More of the file, good until the next call of either; empty: feed more, or done. Errors: invalid_argument for
  // malformed parts, two files, parts beside the file that are too many or too long.
  [[nodiscard]] Result<std::string_view> next();

  // At the end of the input. Errors: invalid_argument when it broke off, or when there was no part "file".
  [[nodiscard]] Result<void> finish() const;

 private:
  enum class State : std::uint8_t { preamble, after_delimiter, headers, data, done };

  [[nodiscard]] Result<bool> step(std::string_view& data);  // false: no progress without more input
  [[nodiscard]] Result<bool> find_first();
  [[nodiscard]] Result<bool> read_delimiter_end();
  [[nodiscard]] Result<bool> read_headers();
  [[nodiscard]] Result<bool> read_data(std::string_view& data);
  [[nodiscard]] Result<void> begin_part(std::string_view headers);
  [[nodiscard]] std::string_view rest() const { return std::string_view(buffer_).substr(begin_); }

  const std::string delimiter_;
  std::string buffer_;  // a first line break, so that the first delimiter is like the others
  std::size_t begin_ = 0;
  State state_ = State::preamble;
  bool in_file_ = false;
  bool has_file_ = false;
  bool first_of_part_ = false;  // the line break before the data is still there
  unsigned parts_ = 0;
  std::size_t other_bytes_ = 0;
};

}  // namespace appmesh::api

#include "api/multipart.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <string.h>

namespace appmesh::api {
namespace {

constexpr std::size_t kMaxBoundary = 70;  // RFC 2046 section 5.1.1
constexpr std::size_t kMaxPreamble = 1024;
constexpr std::size_t kMaxHeaders = 16UL * 1024;
constexpr std::size_t kMaxOtherBytes = 64UL * 1024;
constexpr unsigned kMaxParts = 64;

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool starts_with_no_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::ranges::equal(text.substr(0, prefix.size()), prefix, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::unexpected<Error> malformed(std::string reason) {
  return fail(ErrorKind::invalid_argument, "multipart body: " + std::move(reason));
}

// One value behind '=', quoted or not, taken off the front of `rest`.
std::string take_value(std::string_view& rest) {
  std::string value;
  if (!rest.starts_with('"')) {
    const std::size_t end = std::min(rest.find(';'), rest.size());
    value = trim(rest.substr(0, end));
    rest.remove_prefix(end);
    return value;
  }
  std::size_t i = 1;
  for (; i < rest.size() && rest[i] != '"'; ++i) {
    if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
    value.push_back(rest[i]);
  }
  rest.remove_prefix(std::min(i + 1, rest.size()));
  return value;
}

// The parameter of a header value such as `form-data; name="file"`.
std::optional<std::string> parameter(std::string_view header, std::string_view name) {
  std::size_t semicolon = header.find(';');
  while (semicolon != std::string_view::npos) {
    header = trim(header.substr(semicolon + 1));
    const std::size_t equals = std::min(header.find('='), header.size());
    const std::size_t end = std::min(header.find(';'), header.size());
    if (equals < end) {
      const std::string_view key = trim(header.substr(0, equals));
      header = trim(header.substr(equals + 1));
      std::string value = take_value(header);
      if (key.size() == name.size() && starts_with_no_case(key, name)) return value;
    }
    semicolon = header.find(';');
  }
  return std::nullopt;
}

}  // namespace

bool is_multipart(std::string_view content_type) {
  return starts_with_no_case(trim(content_type), "multipart/");
}

Result<std::string> multipart_boundary(std::string_view content_type) {
  if (!starts_with_no_case(trim(content_type), "multipart/form-data")) {
    return malformed("the Content-Type is not multipart/form-data");
  }
  auto boundary = parameter(content_type, "boundary");
  if (!boundary || boundary->empty()) return malformed("the Content-Type names no boundary");
  const bool is_printable = std::ranges::all_of(*boundary, [](char c) { return c >= ' ' && c <= '~'; });
  if (boundary->size() > kMaxBoundary || !is_printable || boundary->ends_with(' ')) {
    return malformed("the boundary is none of RFC 2046");
  }
  return std::move(*boundary);
}

void MultipartParser::feed(std::string_view input) {
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (state_ == State::done) {
    buffer_.clear();  // what follows the last delimiter has no meaning
  } else {
    buffer_.append(input);
  }
}

Result<std::string_view> MultipartParser::next() {
  for (;;) {
    std::string_view data;
    const Result<bool> went_on = step(data);
    if (!went_on) return std::unexpected(went_on.error());
    if (!*went_on || !data.empty()) return data;
  }
}

Result<void> MultipartParser::finish() const {
  if (state_ != State::done) return malformed("it ends in the middle");
  if (!has_file_) return malformed("there is no part 'file'");
  return {};
}

Result<bool> MultipartParser::step(std::string_view& data) {
  switch (state_) {
    case State::preamble:
      return find_first();
    case State::after_delimiter:
      return read_delimiter_end();
    case State::headers:
      return read_headers();
    case State::data:
      return read_data(data);
    case State::done:
      return false;
  }
  return false;
}

Result<bool> MultipartParser::find_first() {
  const std::size_t found = rest().find(delimiter_);
  if (std::min(found, rest().size()) > kMaxPreamble + delimiter_.size()) return malformed("it begins with no boundary");
  if (found == std::string_view::npos) return false;
  begin_ += found + delimiter_.size();
  state_ = State::after_delimiter;
  return true;
}

Result<bool> MultipartParser::read_delimiter_end() {
  while (rest().starts_with(' ') || rest().starts_with('\t')) ++begin_;
  if (rest().size() < 2) return false;
  if (rest().starts_with("--")) {
    state_ = State::done;
    begin_ = buffer_.size();
    return true;
  }
  if (!rest().starts_with("\r\n")) return malformed("a boundary is followed by something else than a line break");
  if (++parts_ > kMaxParts) return malformed("it has more than " + std::to_string(kMaxParts) + " parts");
  state_ = State::headers;  // the line break stays: two in a row are the end, even when there is no header
  return true;
}

Result<bool> MultipartParser::read_headers() {
  const std::size_t end = rest().find("\r\n\r\n");
  if (std::min(end, rest().size()) > kMaxHeaders) return malformed("the header of a part is too long");
  if (end == std::string_view::npos) return false;
  auto begun = begin_part(rest().substr(0, end));
  if (!begun) return std::unexpected(std::move(begun.error()));
  begin_ += end + 2;  // again the line break stays: a delimiter may follow at once
  state_ = State::data;
  return true;
}

Result<void> MultipartParser::begin_part(std::string_view headers) {
  in_file_ = false;
  while (!headers.empty()) {
    headers.remove_prefix(2);  // each begins with its line break
    const std::size_t end = std::min(headers.find("\r\n"), headers.size());
    const std::string_view line = headers.substr(0, end);
    headers.remove_prefix(end);
    constexpr std::string_view kDisposition = "content-disposition:";
    if (!starts_with_no_case(line, kDisposition)) continue;
    if (parameter(line.substr(kDisposition.size()), "name") == "file") in_file_ = true;
  }
  if (in_file_ && std::exchange(has_file_, true)) return malformed("it has two parts 'file'");
  first_of_part_ = true;
  return {};
}

Result<bool> MultipartParser::read_data(std::string_view& data) {
  const std::string_view all = rest();
  const auto* found = static_cast<const char*>(::memmem(all.data(), all.size(), delimiter_.data(), delimiter_.size()));
  // What may be the beginning of a delimiter waits for the rest of it.
  const std::size_t safe = found                            ? static_cast<std::size_t>(found - all.data())
                           : all.size() < delimiter_.size() ? 0
                                                            : all.size() - (delimiter_.size() - 1);
  std::size_t skipped = 0;
  if (first_of_part_ && safe >= 2) {
    skipped = 2;  // the line break that ends the header
    first_of_part_ = false;
  }
  if (in_file_) {
    data = all.substr(skipped, first_of_part_ ? 0 : safe - skipped);
  } else if ((other_bytes_ += safe) > kMaxOtherBytes) {
    return malformed("the parts beside 'file' are too long");
  }
  if (found) {
    begin_ += safe + delimiter_.size();
    state_ = State::after_delimiter;
    return true;
  }
  if (first_of_part_) return false;
  begin_ += safe;
  return safe > 0;
}

}  // namespace appmesh::api

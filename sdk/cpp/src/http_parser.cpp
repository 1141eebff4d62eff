#include "http_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include <appmesh/error.h>

namespace appmesh::http {
namespace {

constexpr std::size_t kChunkLineBytes = 1024;  // size and extensions; nobody sends more than a few bytes
constexpr int kMaxInterim = 8;

[[noreturn]] void bad(const std::string& why) {
  throw ClientError(ErrorKind::kProtocol, "the server's answer is not valid HTTP: " + why);
}

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) { return lower(c); });
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> parse_number(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::size_t ResponseParser::feed(std::string_view data) {
  std::size_t used = 0;
  if (!data.empty()) started_ = true;
  while (used < data.size() && !done()) {
    if (state_ == State::kLength || state_ == State::kUntilClose || state_ == State::kChunkData) {
      used += take_body(data.substr(used));
    } else if (take_line(data, used)) {
      const std::string line = std::move(line_);
      line_.clear();
      on_line(line);
    }
  }
  return used;
}

bool ResponseParser::take_line(std::string_view data, std::size_t& used) {
  const bool chunk_line = state_ == State::kChunkSize || state_ == State::kChunkEnd;
  const std::size_t end = data.find('\n', used);
  const bool complete = end != std::string_view::npos;
  const std::string_view part = data.substr(used, (complete ? end : data.size()) - used);
  if (chunk_line && line_.size() + part.size() > kChunkLineBytes) bad("chunk line too long");
  if (!chunk_line) {
    header_bytes_ += part.size() + (complete ? 1 : 0);
    if (header_bytes_ > limits_.header_bytes) bad("header over " + std::to_string(limits_.header_bytes) + " bytes");
  }
  line_.append(part);
  used += part.size() + (complete ? 1 : 0);
  if (!complete) return false;
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  if (line_.find_first_of(std::string_view("\r\0", 2)) != std::string::npos) bad("control character in a header line");
  return true;
}

void ResponseParser::on_line(std::string_view line) {
  switch (state_) {
    case State::kStatusLine:
      return on_status_line(line);
    case State::kHeaders:
      return line.empty() ? on_headers_end() : on_header(line);
    case State::kChunkSize:
      return on_chunk_size(line);
    case State::kChunkEnd:
      if (!line.empty()) bad("chunk data longer than its size");
      state_ = State::kChunkSize;
      return;
    case State::kTrailers:
      if (line.empty()) state_ = State::kDone;
      return;
    default:
      return;
  }
}

void ResponseParser::on_status_line(std::string_view line) {
  const bool http_1_1 = line.starts_with("HTTP/1.1 ");
  http_1_0_ = line.starts_with("HTTP/1.0 ");
  if (!http_1_1 && !http_1_0_) bad("no HTTP/1.x status line (is this an App Mesh HTTPS port?)");
  const std::string_view code = line.substr(9, 3);
  const auto status = parse_number(code, 10);
  if (code.size() != 3 || !status || *status < 100 || *status > 599) bad("no status code");
  if (line.size() > 12 && line[12] != ' ') bad("no status code");
  response_.status = static_cast<int>(*status);
  keep_alive_ = http_1_1;
  state_ = State::kHeaders;
}

void ResponseParser::on_header(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) bad("header line without a name");
  const std::string_view name = line.substr(0, colon);
  if (!std::all_of(name.begin(), name.end(), is_token_char)) bad("header name with a forbidden character");
  response_.headers.emplace_back(lower(name), trim(line.substr(colon + 1)));
}

void ResponseParser::on_headers_end() {
  if (response_.status < 200) {
    if (response_.status == 101 || ++interim_ > kMaxInterim) bad("unexpected interim answer");
    response_.headers.clear();
    state_ = State::kStatusLine;
    return;
  }
  std::optional<std::uint64_t> length;
  bool chunked = false;
  for (const auto& [name, value] : response_.headers) {
    if (name == "content-length") {
      const auto number = parse_number(value, 10);
      if (!number || (length && *length != *number)) bad("bad Content-Length");
      length = number;
    } else if (name == "transfer-encoding") {
      if (chunked || lower(value) != "chunked") bad("Transfer-Encoding other than chunked");
      chunked = true;
    } else if (name == "connection") {
      const std::string token = lower(value);
      if (token.find("close") != std::string::npos) keep_alive_ = false;
      if (http_1_0_ && token.find("keep-alive") != std::string::npos) keep_alive_ = true;
    }
  }
  // RFC 9112 6.3: both together is how responses are smuggled.
  if (chunked && length) bad("Content-Length together with chunked");
  if (chunked && http_1_0_) bad("chunked answer in HTTP/1.0");
  if (response_.status == 204 || response_.status == 304) {
    state_ = State::kDone;
  } else if (chunked) {
    state_ = State::kChunkSize;
  } else if (length) {
    if (!sinks() && *length > limits_.body_bytes) bad("body over " + std::to_string(limits_.body_bytes) + " bytes");
    remaining_ = *length;
    state_ = remaining_ == 0 ? State::kDone : State::kLength;
  } else {
    keep_alive_ = false;
    state_ = State::kUntilClose;
  }
}

void ResponseParser::on_chunk_size(std::string_view line) {
  const auto size = parse_number(trim(line.substr(0, line.find(';'))), 16);
  if (!size) bad("bad chunk size");
  if (!sinks() && *size > limits_.body_bytes - response_.body.size()) {
    bad("body over " + std::to_string(limits_.body_bytes) + " bytes");
  }
  remaining_ = *size;
  state_ = remaining_ == 0 ? State::kTrailers : State::kChunkData;
}

std::size_t ResponseParser::take_body(std::string_view data) {
  if (state_ == State::kUntilClose) {
    append(data);
    return data.size();
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, data.size()));
  append(data.substr(0, count));
  remaining_ -= count;
  if (remaining_ == 0) state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
  return count;
}

void ResponseParser::append(std::string_view data) {
  if (sinks()) return sink_(response_, data);
  if (response_.body.size() + data.size() > limits_.body_bytes) {
    bad("body over " + std::to_string(limits_.body_bytes) + " bytes");
  }
  response_.body.append(data);
}

void ResponseParser::finish() {
  if (state_ == State::kUntilClose) {
    state_ = State::kDone;
  } else if (!done()) {
    throw ClientError(ErrorKind::kClosed, started_ ? "the connection ended in the middle of the server's answer"
                                                   : "the server closed the connection without an answer");
  }
}

}  // namespace appmesh::http

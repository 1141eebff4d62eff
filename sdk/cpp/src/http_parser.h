// Reads one HTTP/1.1 response out of a byte stream, strictly and within limits (RFC 9112). Owned by the HTTPS
// transport, one object per response, no I/O of its own. Anything the RFC does not allow throws ClientError(kProtocol).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include <appmesh/transport.h>

namespace appmesh::http {

struct Limits {
  std::size_t header_bytes = 64 * 1024;  // status line, all header fields and trailers together
  std::uint64_t body_bytes = 256ull * 1024 * 1024;
};

class ResponseParser {
 public:
  // `sink` takes the body of an answer of 2xx in place of Response::body, whatever its length.
  using Sink = std::function<void(const Response& head, std::string_view piece)>;
  explicit ResponseParser(Limits limits = {}, Sink sink = {}) : limits_(limits), sink_(std::move(sink)) {}

  // Returns how many bytes belong to this response; fewer than given once done() is true.
  std::size_t feed(std::string_view data);
  // The peer closed the stream. Throws ClientError(kClosed) when the response is not complete.
  void finish();

  [[nodiscard]] bool done() const { return state_ == State::kDone; }
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] int interim_answers() const { return interim_; }
  // Whether another request may follow on the connection.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  Response take() { return std::move(response_); }

 private:
  enum class State { kStatusLine, kHeaders, kLength, kUntilClose, kChunkSize, kChunkData, kChunkEnd, kTrailers, kDone };

  bool take_line(std::string_view data, std::size_t& used);
  void on_line(std::string_view line);
  void on_status_line(std::string_view line);
  void on_header(std::string_view line);
  void on_headers_end();
  void on_chunk_size(std::string_view line);
  std::size_t take_body(std::string_view data);
  void append(std::string_view data);
  [[nodiscard]] bool sinks() const { return sink_ && response_.status / 100 == 2; }

  Limits limits_;
  Sink sink_;
  State state_ = State::kStatusLine;
  Response response_;
  std::string line_;
  std::size_t header_bytes_ = 0;
  std::uint64_t remaining_ = 0;
  int interim_ = 0;
  bool started_ = false;
  bool keep_alive_ = true;
  bool http_1_0_ = false;
};

}  // namespace appmesh::http

// One TCP connection to our daemon, with requests and answers as frames. One thread.
#pragma once

#include <charconv>
#include <stdexcept>
#include <string>
#include <string_view>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>

#include "bench/tls_socket.h"

namespace appmesh::bench {

class TaskConnection {
 public:
  TaskConnection(int port, const std::string& ca) : socket_(port) { socket_.start_tls(ca); }

  // Adds a request to what the next flush() sends; its number is its uuid.
  void add(std::string_view method, std::string_view path, const std::vector<wire::TextPair>& headers,
           const std::vector<wire::TextPair>& query, std::string_view body) {
    char number[24];
    const auto end = std::to_chars(number, number + sizeof number, ++last_).ptr;
    wire::Request request;
    request.uuid = {number, end};
    request.request_uri = path;
    request.http_method = method;
    request.client_addr = "bench";
    message_.clear();
    wire::append_request_head(message_, request, headers, query, static_cast<std::uint32_t>(body.size()));
    wire::append_frame_header(out_, static_cast<std::uint32_t>(message_.size() + body.size()));
    out_ += message_;
    out_ += body;
  }
  void flush() {
    if (out_.empty()) return;
    socket_.write(out_);
    out_.clear();
  }

  // The next answer, good until the next call.
  const wire::Response& next() {
    in_.erase(0, used_);
    used_ = 0;
    while (in_.size() < wire::kFrameHeaderBytes || in_.size() < frame_bytes()) socket_.read(in_);
    used_ = frame_bytes();
    const auto problem = wire::parse_response(
        std::string_view(in_).substr(wire::kFrameHeaderBytes, used_ - wire::kFrameHeaderBytes), answer_);
    if (!problem.empty()) throw std::runtime_error(std::string(problem));
    return answer_;
  }
  // Another whole answer has come already.
  [[nodiscard]] bool has_next() const {
    const auto rest = std::string_view(in_).substr(used_);
    if (rest.size() < wire::kFrameHeaderBytes) return false;
    const auto length = wire::read_frame_header(rest);
    return length && rest.size() >= wire::kFrameHeaderBytes + *length;
  }
  [[nodiscard]] std::uint64_t last() const { return last_; }

 private:
  [[nodiscard]] std::size_t frame_bytes() const {
    const auto length = wire::read_frame_header(in_);
    if (!length) throw std::runtime_error("no frame");
    return wire::kFrameHeaderBytes + *length;
  }

  TlsSocket socket_;
  std::string out_, in_, message_;
  std::size_t used_ = 0;
  std::uint64_t last_ = 0;
  wire::Response answer_;
};

}  // namespace appmesh::bench

#include "file_channel.h"

#include <algorithm>
#include <vector>

#include <appmesh/error.h>
#include <appmesh/wire/frame.h>

#include "message_text.h"

namespace appmesh::detail {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kUploadFrameBytes = 16 * 1024 - 128;  // what other clients of App Mesh send
constexpr std::size_t kMaxDownloadFrameBytes = 16 * 1024 * 1024;

Request with_stream(const Request& request, const char* stream_header) {
  Request plain{.method = request.method, .path = request.path, .query = request.query, .headers = request.headers};
  plain.headers.emplace_back("X-File-Path", request.file);
  plain.headers.emplace_back(stream_header, "true");
  return plain;
}

bool is_good(const Response& response) {
  return response.status >= 200 && response.status <= 299;
}

}  // namespace

FileChannel::FileChannel(const Url& url, SSL_CTX* context, const TransportOptions& options, int cancel)
    : max_message_bytes_(options.max_body_bytes + options.max_header_bytes),
      cancel_(cancel),
      connection_(url, context, options.tls.verify != TlsOptions::Verify::kOff,
                  tls::Clock::now() + options.connect_timeout, cancel) {}

Response FileChannel::ask(const Request& request, tls::Deadline deadline) {
  outgoing_.clear();
  append_message_head(outgoing_, "1", request);
  connection_.write(outgoing_, deadline, cancel_);
  wire::Response message;
  if (const auto problem = wire::parse_response(receive(max_message_bytes_, deadline), message); !problem.empty()) {
    throw ClientError(ErrorKind::kProtocol, "the server's message is malformed: " + std::string(problem));
  }
  return to_response(message);
}

Response FileChannel::download(const Request& request, tls::Deadline deadline) {
  Response response = ask(with_stream(request, "X-Recv-File-Socket"), deadline);
  if (!is_good(response)) return response;
  if (!response.header("x-recv-file-socket")) throw ClientError(ErrorKind::kProtocol, "the server sends no file here");
  response.body.clear();
  for (;;) {
    const std::string_view piece = receive(kMaxDownloadFrameBytes, deadline);
    if (piece.empty()) return response;
    request.body_sink(response, piece);
  }
}

Response FileChannel::upload(const Request& request, tls::Deadline deadline) {
  Response response = ask(with_stream(request, "X-Send-File-Socket"), deadline);
  if (!is_good(response)) return response;
  if (!response.header("x-send-file-socket")) throw ClientError(ErrorKind::kProtocol, "the server takes no file here");
  std::vector<char> piece(kUploadFrameBytes);
  std::uint64_t left = request.body_bytes;
  while (left > 0) {
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
    const std::size_t count = request.body_source(std::span(piece).first(wanted));
    // Without its end the daemon keeps nothing of the file.
    if (count == 0) throw ClientError(ErrorKind::kUsage, "the file became shorter while it was sent");
    left -= count;
    outgoing_.clear();
    wire::append_frame_header(outgoing_, static_cast<std::uint32_t>(count));
    outgoing_.append(piece.data(), count);
    connection_.write(outgoing_, deadline, cancel_);
  }
  outgoing_.clear();
  wire::append_frame_header(outgoing_, 0);
  connection_.write(outgoing_, deadline, cancel_);
  // The end is not acknowledged, but the daemon has stored the file before it answers what comes next on the same
  // connection; any answer will do.
  ask({.method = "GET", .path = "/appmesh/user/permissions", .headers = request.headers}, deadline);
  return response;
}

std::string_view FileChannel::receive(std::uint64_t limit, tls::Deadline deadline) {
  incoming_.erase(0, taken_);
  taken_ = 0;
  for (;;) {
    std::size_t wanted = wire::kFrameHeaderBytes;
    if (incoming_.size() >= wire::kFrameHeaderBytes) {
      const auto length = wire::read_frame_header(incoming_);
      if (!length || *length > limit) {
        throw ClientError(ErrorKind::kProtocol, "the server's frame is none, or too large");
      }
      wanted += *length;
      if (incoming_.size() >= wanted) {
        taken_ = wanted;
        return std::string_view(incoming_).substr(wire::kFrameHeaderBytes, *length);
      }
    }
    const std::size_t have = incoming_.size();
    incoming_.resize(have + kReadBytes);
    std::size_t count = 0;
    try {
      count = connection_.read({incoming_.data() + have, kReadBytes}, deadline, cancel_);
    } catch (...) {
      incoming_.resize(have);
      throw;
    }
    incoming_.resize(have + count);
    if (count == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
  }
}

}  // namespace appmesh::detail

#include "transport/forward_files.h"

#include <algorithm>
#include <utility>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>

namespace appmesh::transport {

namespace asio = boost::asio;

asio::awaitable<Result<std::string_view>> FramesSource::next() {
  if (!lease_) co_return std::string_view();
  auto frame = co_await frames_->next();
  if (!frame) co_return std::unexpected(std::move(frame.error()));
  if (frame->empty()) {
    if (!frames_->has_rest()) lease_->keep();
    lease_.reset();
  }
  co_return *frame;
}

void FramesSource::cancel() {
  if (lease_) lease_->connection().close();
}

asio::awaitable<Result<void>> FramesSink::write(std::string_view piece) {
  while (!piece.empty()) {
    const std::string_view chunk = piece.substr(0, wire::kFileChunkBytes);
    piece.remove_prefix(chunk.size());
    std::string frame;
    wire::append_frame_header(frame, static_cast<std::uint32_t>(chunk.size()));
    frame.append(chunk);
    const bool sent = co_await lease_->connection().write(frame);
    if (!sent) co_return fail(ErrorKind::bad_gateway, "the connection ended amid the file");
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> FramesSink::finish() {
  constexpr std::string_view kQuestion = "stored?";
  wire::Request question;
  question.uuid = kQuestion;
  question.request_uri = "/appmesh/app/-/health";
  question.http_method = "GET";
  std::string message;
  const std::vector<wire::TextPair> none;
  wire::append_request_head(message, question, none, none, 0);
  std::string out;
  wire::append_frame_header(out, 0);
  wire::append_frame_header(out, static_cast<std::uint32_t>(message.size()));
  out.append(message);
  const bool sent = co_await lease_->connection().write(out);
  if (!sent) co_return fail(ErrorKind::bad_gateway, "the connection ended amid the file");
  const auto frame = co_await frames_->next();
  wire::Response answer;
  if (!frame || !wire::parse_response(*frame, answer).empty() || answer.uuid != kQuestion)
    co_return fail(ErrorKind::bad_gateway, "the other daemon did not store the file");
  if (!frames_->has_rest()) lease_->keep();
  lease_.reset();
  co_return Result<void>();
}

}  // namespace appmesh::transport

#include "transport/forward_frames.h"

#include <appmesh/wire/frame.h>

namespace appmesh::transport {

namespace asio = boost::asio;

asio::awaitable<Result<void>> FrameReader::fill(std::size_t bytes) {
  while (input_.size() < bytes) {
    const TlsStream::Outcome outcome = co_await connection_.read_some(connection_.thread().scratch());
    if (outcome.state != TlsStream::State::done) {
      const std::string problem = connection_.problem();
      if (!problem.empty() && !started_) co_return fail(ErrorKind::bad_gateway, "TLS: " + problem);
      co_return fail(ErrorKind::bad_gateway,
                     started_ ? "the connection ended amid the answer" : "the connection was closed without an answer");
    }
    started_ = true;
    input_.append(connection_.thread().scratch().data(), outcome.bytes);
  }
  co_return Result<void>();
}

asio::awaitable<Result<std::string_view>> FrameReader::next() {
  input_.erase(0, used_);
  used_ = 0;
  auto filled = co_await fill(wire::kFrameHeaderBytes);
  if (!filled) co_return std::unexpected(std::move(filled.error()));
  const auto length = wire::read_frame_header(input_);
  if (!length) co_return fail(ErrorKind::bad_gateway, "malformed answer: no frame");
  if (*length > wire::kMaxMessageBytes) co_return fail(ErrorKind::bad_gateway, "malformed answer: a frame too long");
  filled = co_await fill(wire::kFrameHeaderBytes + *length);
  if (!filled) co_return std::unexpected(std::move(filled.error()));
  used_ = wire::kFrameHeaderBytes + *length;
  co_return std::string_view(input_).substr(wire::kFrameHeaderBytes, *length);
}

}  // namespace appmesh::transport

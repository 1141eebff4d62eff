#include "transport/http_body.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kPieceBytes = 256UL * 1024;

ErrorKind kind_of(const BadRequest& refusal) {
  switch (refusal.status) {
    case 413:
      return ErrorKind::too_large;
    case 503:
      return ErrorKind::unavailable;
    default:
      return ErrorKind::invalid_argument;
  }
}

}  // namespace

std::optional<std::uint64_t> HttpConnection::Body::size_bytes() const {
  return connection_ ? parser_->announced_body_bytes() : std::nullopt;
}

asio::awaitable<Result<std::string_view>> HttpConnection::Body::next() {
  if (!connection_) co_return fail(ErrorKind::unavailable, "the request has been answered");
  Result<void> filled = co_await connection_->fill(*parser_, *this);
  if (!filled) co_return std::unexpected(std::move(filled.error()));
  parser_->take_body(piece_);
  received_bytes_ += piece_.size();
  co_return std::string_view(piece_);
}

void HttpConnection::Body::guard(const std::shared_ptr<api::LongRight>& right) {
  if (!connection_ || !right) return;
  if (!self_) self_ = std::make_shared<Body*>(this);
  when_lost_ = api::WhenLost(right, [self = self_, &context = connection_->thread_.context()](const Error& why) {
    asio::post(context, [self, why] {
      if (*self == nullptr || (*self)->lost_) return;
      (*self)->lost_ = why;
      (*self)->connection_->stream_.cancel_wait();
    });
  });
}

void HttpConnection::Body::end() {
  if (self_) *self_ = nullptr;
  when_lost_.reset();
  connection_ = nullptr;
}

// Returns with something in the parser, or at the end of the body. Reads on while more is there already, so that each
// piece is worth its way to the disk.
asio::awaitable<Result<void>> HttpConnection::fill(RequestParser& parser, Body& body) {
  const auto gone = [] { return fail(ErrorKind::unavailable, "the peer has gone"); };
  if (!std::exchange(body.invited_, true) && parser.expects_continue() && parser.body_bytes() == 0 && !parser.done()) {
    const bool sent = co_await write("HTTP/1.1 100 Continue\r\n\r\n");
    if (!sent) co_return gone();
  }
  while (!parser.done() && parser.body_bytes() < kPieceBytes) {
    if (body.lost_) co_return std::unexpected(*body.lost_);
    const TlsStream::Outcome outcome = stream_.try_read(thread_.scratch());
    if (outcome.state == TlsStream::State::done) {
      BadRequest refusal;
      if (consume(parser, {thread_.scratch().data(), outcome.bytes}, refusal)) continue;
      co_return fail(kind_of(refusal), std::move(refusal.message));
    }
    if (outcome.state != TlsStream::State::want_read && outcome.state != TlsStream::State::want_write) {
      co_return gone();
    }
    if (parser.body_bytes() > 0) break;
    const HttpLimits& limits = shared_->limits;
    const std::chrono::milliseconds earned(body.received_bytes_ * 1000 /
                                           std::max<std::uint64_t>(limits.min_body_bytes_per_second, 1));
    deadline_.set(std::min(limits.body_timeout, limits.body_timeout + earned - body.waited_));
    const auto before = Deadline::Clock::now();
    const bool ready = co_await stream_.wait(outcome.state);
    deadline_.clear();
    if (body.lost_) co_return std::unexpected(*body.lost_);
    if (!ready) co_return gone();
    body.waited_ += std::chrono::duration_cast<std::chrono::milliseconds>(Deadline::Clock::now() - before);
  }
  // A peer that is always faster than we are must not have the thread to itself.
  if (!parser.done()) co_await asio::post(thread_.context(), asio::use_awaitable);
  co_return Result<void>();
}

}  // namespace appmesh::transport

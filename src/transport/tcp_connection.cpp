#include "transport/tcp_connection.h"

#include <algorithm>
#include <utility>

#include <appmesh/wire/frame.h>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr int kReadsPerTurn = 64;                     // then other connections of the thread are served
constexpr std::size_t kOwnBufferBytes = 64UL * 1024;  // a frame from here on gives its buffer to the request

}  // namespace

asio::awaitable<void> TcpConnection::serve() {
  const bool secured = co_await handshake();
  if (!secured) co_return;
  bool more = stream_.has_pending();
  for (int reads = 1;; ++reads) {
    while (is_paused() && stream_.is_open() && !is_stopping()) co_await wait_for_room();
    TlsStream::Outcome outcome{TlsStream::State::want_read};
    if (more) outcome = stream_.try_read(thread_.scratch());
    switch (outcome.state) {
      case TlsStream::State::done:
        if (!consume({thread_.scratch().data(), outcome.bytes})) co_return;
        // A peer that waits for its answer has sent no more: asking the socket would be in vain.
        more = !input_.empty() || stream_.has_pending();
        if (reads % kReadsPerTurn == 0) co_await asio::post(thread_.context(), asio::use_awaitable);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        set_receive_deadline();
        const bool ready = co_await stream_.wait(outcome.state);
        if (!ready) co_return;
        more = true;
        break;
      }
      default:
        co_return;
    }
  }
}

bool TcpConnection::consume(std::string_view fresh) {
  begin_batch();
  bool good = true;
  if (input_.empty()) {
    good = take_frames(fresh, nullptr);
  } else {
    input_.append(fresh);
    if (input_.size() >= needed_) {
      std::string whole = std::exchange(input_, {});
      static_cast<void>(account_received(0));  // from here it is the request's
      good = take_frames(whole, &whole);
    }
  }
  if (good && !account_received(input_.size())) {
    close_because("all connections together have too many messages under way");
    good = false;
  }
  end_batch();
  return good && stream_.is_open();
}

// `owner` holds `bytes` when they are not in the thread's scratch. What is left goes to input_.
bool TcpConnection::take_frames(std::string_view bytes, std::string* owner) {
  while (bytes.size() >= wire::kFrameHeaderBytes) {
    const auto length = wire::read_frame_header(bytes);
    std::string_view problem;
    if (!length) {
      problem = "what it sent is no frame";
    } else if (*length > limits().message_bytes) {
      problem = "its frame announces more bytes than a message may have";
    } else if (*length == 0) {
      problem = "an empty frame where no file is being sent";
    }
    if (!problem.empty()) {
      close_because(problem);
      return false;
    }
    const std::size_t whole = wire::kFrameHeaderBytes + *length;
    if (bytes.size() < whole) break;
    if (owner != nullptr && whole >= kOwnBufferBytes) {
      std::string rest(bytes.substr(whole));
      const auto start = static_cast<std::size_t>(bytes.data() - owner->data());
      owner->resize(start + whole);
      problem = receive(std::move(*owner), start + wire::kFrameHeaderBytes);
      *owner = std::move(rest);
      bytes = *owner;
    } else {
      problem = receive(bytes.substr(wire::kFrameHeaderBytes, *length));
      bytes.remove_prefix(whole);
    }
    if (!problem.empty()) {
      close_because(problem);
      return false;
    }
  }
  if (bytes.empty()) return true;
  needed_ = wire::kFrameHeaderBytes;
  if (bytes.size() >= needed_) needed_ += *wire::read_frame_header(bytes);
  input_.assign(bytes);
  frame_started_ = Deadline::Clock::now();
  return true;
}

void TcpConnection::set_receive_deadline() {
  using std::chrono::milliseconds;
  if (input_.empty()) return receive_deadline_.clear();
  const milliseconds earned(input_.size() * 1000 / std::max<std::uint64_t>(limits().min_bytes_per_second, 1));
  const auto spent = std::chrono::duration_cast<milliseconds>(Deadline::Clock::now() - frame_started_);
  receive_deadline_.set(std::min(limits().message_timeout, limits().message_timeout + earned - spent));
}

void TcpConnection::append_frame_head(std::string& out, std::size_t message_bytes) const {
  wire::append_frame_header(out, static_cast<std::uint32_t>(message_bytes));
}

}  // namespace appmesh::transport

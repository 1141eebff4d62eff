#include "transport/tcp_connection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <appmesh/wire/frame.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kStoreBytes = 256UL * 1024;     // of an upload are worth their way to the disk
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
        if (upload_ended_ || upload_bytes_.size() >= kStoreBytes) {
          const bool stored = co_await store_upload();
          if (!stored) co_return;
        }
        // A peer that waits for its answer has sent no more: asking the socket would be in vain.
        more = upload_ || !input_.empty() || stream_.has_pending();
        if (reads % IoThread::kReadsPerTurn == 0) co_await asio::post(thread_.context(), asio::use_awaitable);
        break;
      case TlsStream::State::want_read:
      case TlsStream::State::want_write: {
        if (!upload_bytes_.empty()) {
          const bool stored = co_await store_upload();
          if (!stored) co_return;
          more = true;
          break;
        }
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
  while (!upload_ended_) {
    if (chunk_left_ > 0) {
      const std::string_view piece =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, bytes.size())));
      if (piece.empty()) break;
      upload_bytes_.append(piece);
      chunk_left_ -= piece.size();
      bytes.remove_prefix(piece.size());
      continue;
    }
    if (bytes.size() < wire::kFrameHeaderBytes) break;
    const auto length = wire::read_frame_header(bytes);
    std::string_view problem;
    if (!length) {
      problem = "what it sent is no frame";
    } else if (*length > limits().message_bytes) {
      problem = "its frame announces more bytes than a message may have";
    } else if (*length == 0 && !upload_) {
      problem = "an empty frame where no file is being sent";
    } else if (upload_) {
      bytes.remove_prefix(wire::kFrameHeaderBytes);
      chunk_left_ = *length;
      upload_ended_ = *length == 0;
      continue;
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
  // Behind an upload may lie what is no frame; that shows when the file is stored.
  if (bytes.size() >= needed_) needed_ += wire::read_frame_header(bytes).value_or(0);
  input_.assign(bytes);
  frame_started_ = Deadline::Clock::now();
  return true;
}

void TcpConnection::set_receive_deadline() {
  using std::chrono::milliseconds;
  if (input_.empty() && upload_) return receive_deadline_.set(limits().message_timeout);
  if (input_.empty()) return receive_deadline_.clear();
  const milliseconds earned(input_.size() * 1000 / std::max<std::uint64_t>(limits().min_bytes_per_second, 1));
  const auto spent = std::chrono::duration_cast<milliseconds>(Deadline::Clock::now() - frame_started_);
  receive_deadline_.set(std::min(limits().message_timeout, limits().message_timeout + earned - spent));
}

bool TcpConnection::take_upload(std::shared_ptr<api::BodySink> sink) {
  if (upload_) return false;
  upload_ = std::move(sink);
  return true;
}

// Nothing is read meanwhile: the peer waits, and its next request is handled when the file is there.
asio::awaitable<bool> TcpConnection::store_upload() {
  do {
    receive_deadline_.clear();
    Result<void> stored = co_await upload_->write(upload_bytes_);
    upload_bytes_.clear();
    if (stored && upload_ended_) stored = co_await upload_->finish();
    if (!stored) {
      close_because("the file that it sent was not stored: " + stored.error().message);
      co_return false;
    }
    if (!std::exchange(upload_ended_, false)) co_return true;
    upload_.reset();
    end_upload();
    upload_bytes_ = std::string();
    if (!consume({})) co_return false;
  } while (upload_ended_);
  co_return true;
}

bool TcpConnection::send_file(std::shared_ptr<api::BodySource> source) {
  begin_file();
  auto self = std::static_pointer_cast<TcpConnection>(shared_from_this());
  asio::co_spawn(thread_.context(), send_frames(std::move(self), std::move(source)), asio::detached);
  return true;
}

asio::awaitable<void> TcpConnection::send_frames(std::shared_ptr<TcpConnection> self,
                                                 std::shared_ptr<api::BodySource> source) {
  std::array<char, wire::kFrameHeaderBytes + wire::kFileChunkBytes>
      frame;  // one record: what is copied is still in the cache
  std::size_t turn = 0;
  self->stream_.cork(true);
  for (;;) {
    const Result<std::string_view> piece = co_await source->next();
    if (!piece) {
      self->close_because("the file that it asked for cannot be read: " + piece.error().message);
      co_return;
    }
    if (piece->empty()) break;
    for (std::string_view rest = *piece; !rest.empty();) {
      const std::string_view chunk = rest.substr(0, wire::kFileChunkBytes);
      wire::write_frame_header(frame.data(), static_cast<std::uint32_t>(chunk.size()));
      std::memcpy(frame.data() + wire::kFrameHeaderBytes, chunk.data(), chunk.size());
      const bool taken = co_await self->send_now({frame.data(), wire::kFrameHeaderBytes + chunk.size()});
      if (!taken) co_return;
      rest.remove_prefix(chunk.size());
    }
    turn += piece->size();
    if (turn >= IoThread::kBytesPerTurn) {  // a peer that takes everything at once must not have the thread to itself
      turn = 0;
      co_await asio::post(self->thread_.context(), asio::use_awaitable);
    }
  }
  wire::write_frame_header(frame.data(), 0);
  const bool taken = co_await self->send_now({frame.data(), wire::kFrameHeaderBytes});
  self->stream_.cork(false);
  if (taken) self->end_file();
}

void TcpConnection::append_frame_head(std::string& out, std::size_t message_bytes) const {
  wire::append_frame_header(out, static_cast<std::uint32_t>(message_bytes));
}

}  // namespace appmesh::transport

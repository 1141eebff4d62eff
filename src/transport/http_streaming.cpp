// Answers that are made while they are sent (api/body.h). While the source makes the next piece, somebody must notice
// that the peer has gone, or an answer that waits for events would hold a dead connection for ever: a second coroutine
// of the same thread reads along, and keeps what comes early for the next request.
#include <array>
#include <charconv>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <spdlog/spdlog.h>

#include "transport/http_connection.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kLastWordTime{500};
constexpr std::size_t kOneRecordBytes = 16UL * 1024;  // a piece up to here leaves in one write with its chunk frame

}  // namespace

// Outlives the answer by the moment that the second coroutine takes to end.
struct HttpConnection::Streaming {
  Streaming(IoThread& thread, std::function<void()> late) : last_word(thread.deadlines(), std::move(late)) {}

  std::shared_ptr<api::BodySource> source;
  Deadline last_word;  // of a source whose right is lost
  asio::cancellation_signal end_watch;
  bool active = true;
};

struct HttpConnection::StreamingEnd {
  HttpConnection& connection;
  ~StreamingEnd() {
    const auto streaming = std::exchange(connection.streaming_, nullptr);
    streaming->active = false;
    streaming->end_watch.emit(asio::cancellation_type::terminal);
  }
};

void HttpConnection::stop() {
  stopping_ = true;
  if (web_socket_) {
    web_socket_->stop();
  } else if (!busy_) {
    stream_.close();
  } else if (streaming_) {
    streaming_->source->cancel();
  } else {
    stop_socket();
  }
}

asio::awaitable<bool> HttpConnection::send_stream(const api::Response& response, const ResponseStyle& style) {
  std::string head;
  append_head(head, response, style);
  streaming_ = std::make_shared<Streaming>(thread_, [this] { stream_.close(); });
  streaming_->source = response.stream;
  const StreamingEnd end{*this};
  const api::WhenLost when_lost(response.right, [weak = std::weak_ptr(streaming_), connection = weak_from_this(),
                                                 &context = thread_.context()](const Error& why) {
    asio::post(context, [weak, connection, why] {
      const auto self = connection.lock();
      if (const auto streaming = weak.lock(); self && streaming && streaming->active)
        self->lose_stream(*streaming, why);
    });
  });
  asio::co_spawn(thread_.context(), watch_peer(shared_from_this(), streaming_),
                 asio::bind_cancellation_slot(streaming_->end_watch.slot(), asio::detached));
  if (stopping_) response.stream->cancel();

  bool sent = co_await write(head);
  const bool is_file = response.stream->size_bytes().has_value();  // what has no size is told as it happens
  if (is_file) stream_.cork(true);
  if (sent) sent = co_await send_pieces(*response.stream, !is_file && !style.http_1_0);
  if (is_file) stream_.cork(false);
  // Without the TLS farewell the peer knows that this was not the end.
  if (!sent) stream_.close();
  co_return sent;
}

// The head is sent, so no status can tell of it. What has a size is cut, and the peer sees that this was not the end.
void HttpConnection::lose_stream(Streaming& streaming, const Error& why) {
  spdlog::info("answer to {} ends: {}", peer_, why.message);
  streaming.source->lose(why);
  if (streaming.source->size_bytes()) return stream_.close();
  streaming.last_word.set(kLastWordTime);
}

asio::awaitable<bool> HttpConnection::send_pieces(api::BodySource& source, bool chunked) {
  const std::optional<std::uint64_t> size = source.size_bytes();
  std::uint64_t total = 0;
  std::size_t turn = 0;
  for (;;) {
    deadline_.clear();  // the source may take its time
    const Result<std::string_view> piece = co_await source.next();
    if (!piece) {
      spdlog::debug("answer to {} cut: {}", peer_, piece.error().message);
      co_return false;
    }
    if (piece->empty()) break;
    total += piece->size();
    if (size && total > *size) {
      spdlog::error("answer to {} cut: it is longer than the {} bytes that it announced", peer_, *size);
      co_return false;
    }
    const bool sent = chunked ? co_await write_chunk(*piece) : co_await write(*piece);
    if (!sent) co_return false;
    turn += piece->size();
    if (turn >= IoThread::kBytesPerTurn) {
      turn = 0;
      co_await asio::post(thread_.context(), asio::use_awaitable);
    }
  }
  if (chunked) co_return co_await write("0\r\n\r\n");
  if (size && total < *size) {
    spdlog::error("answer to {} cut: {} bytes of the {} that it announced", peer_, total, *size);
    co_return false;
  }
  co_return true;
}

asio::awaitable<bool> HttpConnection::write_chunk(std::string_view piece) {
  std::array<char, 20> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), piece.size(), 16).ptr;
  std::string frame(size.data(), end);
  frame.append("\r\n");
  if (piece.size() <= kOneRecordBytes) {
    frame.append(piece).append("\r\n");
    co_return co_await write(frame);
  }
  bool sent = co_await write(frame);
  if (sent) sent = co_await write(piece);
  if (sent) sent = co_await write("\r\n");
  co_return sent;
}

asio::awaitable<void> HttpConnection::watch_peer(std::shared_ptr<HttpConnection> self,
                                                 std::shared_ptr<Streaming> streaming) {
  while (streaming->active) {
    if (!self->take_early_bytes()) {
      streaming->source->cancel();
      co_return;
    }
    // A peer that sends more than this has to wait; then only writing finds out that it has gone.
    if (self->input_.size() > self->shared_->limits.parser.header_bytes) co_return;
    const bool ready = co_await self->stream_.wait(TlsStream::State::want_read);
    if (!ready && streaming->active) {
      streaming->source->cancel();
      co_return;
    }
  }
}

bool HttpConnection::take_early_bytes() {
  while (input_.size() <= shared_->limits.parser.header_bytes) {
    const TlsStream::Outcome outcome = stream_.try_read(thread_.scratch());
    if (outcome.state != TlsStream::State::done) {
      return outcome.state == TlsStream::State::want_read || outcome.state == TlsStream::State::want_write;
    }
    input_.append(thread_.scratch().data(), outcome.bytes);
  }
  return true;
}

}  // namespace appmesh::transport

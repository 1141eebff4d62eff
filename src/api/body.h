// Bodies that are not a text in memory: made while they are sent, or taken while they arrive. All calls come from the
// I/O thread of the connection that they belong to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "api/long_requests.h"
#include "core/error.h"

namespace appmesh::api {

class BodySource {
 public:
  virtual ~BodySource() = default;

  // All bytes to come when that is known: then it is the Content-Length, else the body is sent in chunks.
  [[nodiscard]] virtual std::optional<std::uint64_t> size_bytes() const = 0;

  // The next piece, good until the next call; empty: the end. An error cuts the connection, since the answer has begun.
  [[nodiscard]] virtual boost::asio::awaitable<Result<std::string_view>> next() = 0;

  // The peer has gone: a next() that waits ends soon with an error, and none follows.
  virtual void cancel() = 0;

  // The right to it is gone. A source without a size may end with a last word, which is sent when the peer takes it.
  virtual void lose(const Error& /*why*/) { cancel(); }
};

// A request's body that its route takes piece by piece (Route::streamed_body_bytes). The peer is invited to send by the
// first next(), so a handler that refuses has cost no transfer.
class BodyReader {
 public:
  virtual ~BodyReader() = default;

  // What the peer announced; nothing when it did not.
  [[nodiscard]] virtual std::optional<std::uint64_t> size_bytes() const = 0;

  // What has come, at most some hundred kilobytes, good until the next call; empty: the end. Errors: invalid_argument
  // for bad framing, too_large, unavailable when the peer has gone. None follows an error or the end.
  [[nodiscard]] virtual boost::asio::awaitable<Result<std::string_view>> next() = 0;

  // From now on next() ends with the right's error, also one that waits, when the right is lost.
  virtual void guard(const std::shared_ptr<LongRight>& right) = 0;
};

// Takes what a peer sends behind an answer (docs/wire.md#tcp-files). Destroyed without finish(): given up,
// and nothing is left of it.
class BodySink {
 public:
  virtual ~BodySink() = default;

  // Waits while too much is still to be stored. After an error only the destructor may be called.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> write(std::string_view piece) = 0;
  // All of it has come: returns when it is stored.
  [[nodiscard]] virtual boost::asio::awaitable<Result<void>> finish() = 0;
};

}  // namespace appmesh::api

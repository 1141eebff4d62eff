// Bodies that are not a text in memory: made while they are sent, or lying in a file. A Response carries at most one.
// All calls come from the I/O thread of the connection that sends.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include <boost/asio/awaitable.hpp>

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
};

}  // namespace appmesh::api

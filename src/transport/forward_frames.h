// Frames that come from another daemon, one after another. Inner part of forward_tcp; one I/O thread.
#pragma once

#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "core/error.h"
#include "transport/outbound.h"

namespace appmesh::transport {

class FrameReader {
 public:
  // Reads from `connection`, which must outlive every next().
  explicit FrameReader(Outbound& connection) : connection_(connection) {}

  // What is in the next frame, good until the next call; empty for a frame without bytes. The buffer grows with the
  // bytes that came, never with those that were announced. Error: bad_gateway.
  [[nodiscard]] boost::asio::awaitable<Result<std::string_view>> next();

  [[nodiscard]] bool started() const { return started_; }  // a byte has come
  [[nodiscard]] bool has_rest() const { return used_ != input_.size(); }

 private:
  boost::asio::awaitable<Result<void>> fill(std::size_t bytes);

  Outbound& connection_;
  std::string input_;
  std::size_t used_ = 0;
  bool started_ = false;
};

}  // namespace appmesh::transport

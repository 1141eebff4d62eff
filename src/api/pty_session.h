// One person at one terminal: bytes and sizes between a WebSocket and our end of a pseudo terminal. Kept alive by its
// connection; everything happens on that connection's I/O thread.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "api/socket.h"
#include "platform/unique_fd.h"

namespace appmesh::api {

class PtySession final : public SocketHandler, public std::enable_shared_from_this<PtySession> {
 public:
  using Left = std::move_only_function<void(SocketEnd why)>;

  // `left` is called once, when nobody is at the terminal any more before the run has ended.
  PtySession(boost::asio::any_io_executor executor, Left left);
  ~PtySession() override;
  PtySession(const PtySession&) = delete;
  PtySession& operator=(const PtySession&) = delete;

  // Both before next(): our end of the terminal, and a first message to the peer.
  void open(platform::UniqueFd master);
  void tell(std::string text) { texts_.push_back(std::move(text)); }

  // The run has ended: what its processes wrote until now is still delivered, then this text.
  void finish(std::string last_text);

  boost::asio::awaitable<std::optional<SocketMessage>> next() override;
  boost::asio::awaitable<Result<void>> take(SocketMessage message) override;
  void end(SocketEnd why) override;

 private:
  boost::asio::awaitable<void> wait_for_end();
  [[nodiscard]] Result<void> control(const std::string& text);
  void wake();

  boost::asio::any_io_executor executor_;
  Left left_;
  boost::asio::posix::stream_descriptor master_;
  std::deque<std::string> texts_;
  std::optional<std::string> last_text_;
  std::move_only_function<void()> waiter_;  // of wait_for_end()
  bool finished_ = false;
  bool ended_ = false;
  std::array<char, 16UL * 1024> buffer_;
};

}  // namespace appmesh::api

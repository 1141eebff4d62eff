// The part of a TCP or WebSocket connection that others hold: what they push waits here until the connection's thread
// takes it. Made by the connection; outlives it as long as a request or a subscription holds it. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "api/connection.h"

namespace appmesh::transport {

struct PushLimits {
  std::size_t messages = 10'000;             // queued here or not yet sent
  std::uint64_t bytes = 64UL * 1024 * 1024;  // of them
};

class PushQueue final : public api::Connection, public std::enable_shared_from_this<PushQueue> {
 public:
  // `wake` is called, on the pusher's thread, when the queue stops being empty or is full. It must not wait.
  PushQueue(const PushLimits& limits, std::function<void()> wake) : limits_(limits), wake_(std::move(wake)) {}

  bool push(api::PushMessage message) override;
  [[nodiscard]] std::shared_ptr<void> hold_pushes() override;
  [[nodiscard]] bool is_behind() const override;  // an eighth of what it may hold
  void on_end(std::move_only_function<void()> ended) override;

  // Of the connection, on its thread.
  [[nodiscard]] std::vector<api::PushMessage> take();
  // What the connection has taken and not sent yet counts too.
  void set_unsent(std::size_t messages, std::uint64_t bytes);
  [[nodiscard]] bool overflowed() const;
  void end();      // calls what on_end() was given, once
  void abandon();  // ends without calling anybody: the process is going

 private:
  std::vector<std::move_only_function<void()>> close();
  void release_hold();

  const PushLimits limits_;
  mutable std::mutex mutex_;
  std::function<void()> wake_;
  std::vector<api::PushMessage> waiting_;
  std::uint64_t waiting_bytes_ = 0;
  std::size_t unsent_messages_ = 0;
  std::uint64_t unsent_bytes_ = 0;
  std::vector<std::move_only_function<void()>> at_end_;
  int holds_ = 0;  // then take() gives nothing
  bool overflowed_ = false;
  bool ended_ = false;
};

}  // namespace appmesh::transport

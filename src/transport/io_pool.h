// The threads that do sockets and TLS. Each has an io_context of its own and serves its connections alone, so nothing
// that belongs to one connection needs a lock. Owned by the daemon; next() may be called from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "transport/deadlines.h"

namespace appmesh::transport {

class IoThread {
 public:
  IoThread();
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  [[nodiscard]] boost::asio::io_context& context() { return *context_; }
  [[nodiscard]] DeadlineQueue& deadlines() { return deadlines_; }

  // Bytes that come off a connection lie here until the next co_await, so that an idle connection has no buffer.
  static constexpr std::size_t kScratchBytes = 16UL * 1024;
  [[nodiscard]] std::array<char, kScratchBytes>& scratch() { return scratch_; }

  // A connection that has read so often, or sent so much of a file, lets the others of its thread have their turn.
  static constexpr int kReadsPerTurn = 64;
  static constexpr std::size_t kBytesPerTurn = 1024UL * 1024;

 private:
  friend class IoPool;
  void start(std::size_t number);
  void stop();

  std::unique_ptr<boost::asio::io_context> context_;
  DeadlineQueue deadlines_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::array<char, kScratchBytes> scratch_;
  std::thread thread_;
};

class IoPool {
 public:
  // The threads take no signals. `threads` is at least 1. Throws std::system_error when one cannot be made.
  explicit IoPool(unsigned threads);
  ~IoPool();
  IoPool(const IoPool&) = delete;
  IoPool& operator=(const IoPool&) = delete;

  [[nodiscard]] IoThread& first() { return *threads_.front(); }
  [[nodiscard]] IoThread& next();  // round-robin
  [[nodiscard]] std::size_t size() const { return threads_.size(); }
  [[nodiscard]] IoThread& thread(std::size_t index) { return *threads_[index]; }

  // Joins the threads. Whatever is unfinished is destroyed with the pool. Not from a thread of the pool.
  void stop();

 private:
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace appmesh::transport

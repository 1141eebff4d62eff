// The threads for what blocks in the security room: hashing passwords (tens of milliseconds and 19 MiB each) and
// writing security.yaml. Made at the first use; owned by the daemon; run() may be called from any I/O thread. At most
// kMaxWaiting pieces of work wait, so a flood of logins costs the flood and not the machine.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include "api/on_worker.h"
#include "core/error.h"

namespace appmesh::api {

class PasswordWorkers {
 public:
  static constexpr unsigned kThreads = 2;
  static constexpr int kMaxWaiting = 256;

  PasswordWorkers() = default;
  ~PasswordWorkers() {
    if (pool_) pool_->join();
  }
  PasswordWorkers(const PasswordWorkers&) = delete;
  PasswordWorkers& operator=(const PasswordWorkers&) = delete;

  // `work` returns a Result<T>; error unavailable when too much is waiting. The awaiting coroutine goes on on its own
  // executor.
  template <typename Work>
  boost::asio::awaitable<std::invoke_result_t<Work>> run(Work work) {
    auto slot = Slot::take(waiting_);
    if (!slot) co_return fail(ErrorKind::unavailable, "Too many logins are waiting, try again later");
    co_return co_await on_worker(executor(), [work = std::move(work), slot = std::move(slot)]() mutable {
      auto result = work();
      slot.reset();
      return result;
    });
  }

 private:
  // One place in the queue; given back when the work ends or is dropped.
  class Slot {
   public:
    static std::shared_ptr<Slot> take(std::atomic<int>& waiting) {
      if (waiting.fetch_add(1) < kMaxWaiting) return std::make_shared<Slot>(waiting);
      waiting.fetch_sub(1);
      return nullptr;
    }
    explicit Slot(std::atomic<int>& waiting) : waiting_(waiting) {}
    ~Slot() { waiting_.fetch_sub(1); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    std::atomic<int>& waiting_;
  };

  boost::asio::any_io_executor executor() {
    const std::lock_guard lock(mutex_);
    if (!pool_) pool_ = std::make_unique<boost::asio::thread_pool>(kThreads);
    return pool_->get_executor();
  }

  std::atomic<int> waiting_{0};
  std::mutex mutex_;
  std::unique_ptr<boost::asio::thread_pool> pool_;
};

}  // namespace appmesh::api

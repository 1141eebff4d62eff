// The threads for file transfers, apart from those of other work: a file system that hangs costs file transfers and
// nothing else. Made at the first use; owned by the daemon, any thread. Each transfer takes a place, since each holds
// buffers.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "core/error.h"

namespace appmesh::api {

class FileWorkers {
 public:
  static constexpr unsigned kThreads = 4;
  static constexpr int kMaxTransfers = 256;

  FileWorkers() = default;
  ~FileWorkers() {
    if (pool_) pool_->join();
  }
  FileWorkers(const FileWorkers&) = delete;
  FileWorkers& operator=(const FileWorkers&) = delete;

  boost::asio::any_io_executor executor() {
    const std::lock_guard lock(mutex_);
    if (!pool_) pool_ = std::make_unique<boost::asio::thread_pool>(kThreads);
    return pool_->get_executor();
  }

  // A place for one transfer, given back when the last copy of the pointer goes. Error unavailable when all are taken.
  Result<std::shared_ptr<void>> take_place() {
    if (taken_->fetch_add(1) >= kMaxTransfers) {
      taken_->fetch_sub(1);
      return fail(ErrorKind::unavailable, "Too many file transfers at once, try again later");
    }
    return std::shared_ptr<void>(nullptr, [taken = taken_](void*) { taken->fetch_sub(1); });
  }

 private:
  const std::shared_ptr<std::atomic<int>> taken_ = std::make_shared<std::atomic<int>>(0);
  std::mutex mutex_;
  std::unique_ptr<boost::asio::thread_pool> pool_;
};

}  // namespace appmesh::api

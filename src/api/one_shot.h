// One value that comes once, from any thread, to one coroutine that waits for it. Held by shared_ptr at both ends, so
// neither minds when the other has gone.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::api {

template <typename T>
class OneShot {
 public:
  // Later values are dropped: false.
  bool set(T value) {
    std::move_only_function<void(T)> resume;
    {
      const std::lock_guard lock(mutex_);
      if (finished_) return false;
      finished_ = true;
      if (!resume_) {
        value_ = std::move(value);
        return true;
      }
      resume = std::exchange(resume_, nullptr);
    }
    resume(std::move(value));
    return true;
  }

  // Called once. Goes on on the executor of the coroutine, at once when the value is there.
  boost::asio::awaitable<T> get() {
    {
      const std::lock_guard lock(mutex_);
      if (value_) co_return std::move(*value_);
    }
    auto initiate = [this](auto handler) {
      auto executor = boost::asio::get_associated_executor(handler);
      std::move_only_function<void(T)> resume = [handler = std::move(handler), executor](T value) mutable {
        boost::asio::post(executor, [handler = std::move(handler), value = std::move(value)]() mutable {
          std::move(handler)(std::move(value));
        });
      };
      std::optional<T> early;
      {
        const std::lock_guard lock(mutex_);
        if (!value_) {
          resume_ = std::move(resume);
          return;
        }
        early = std::move(value_);
      }
      resume(std::move(*early));
    };
    co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(T)>(
        initiate, boost::asio::use_awaitable);
  }

 private:
  std::mutex mutex_;
  bool finished_ = false;
  std::optional<T> value_;
  std::move_only_function<void(T)> resume_;
};

}  // namespace appmesh::api

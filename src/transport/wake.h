// One coroutine waits, another handler of the same thread wakes it. Belongs to one I/O thread; at most one waiter.
#pragma once

#include <functional>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::transport {

class Wake {
 public:
  boost::asio::awaitable<void> wait() {
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
        [this](auto handler) {
          auto executor = boost::asio::get_associated_executor(handler);
          waiter_ = [executor, handler = std::move(handler)]() mutable {
            boost::asio::post(executor, std::move(handler));
          };
        },
        boost::asio::use_awaitable);
  }
  void notify() {
    if (waiter_) std::exchange(waiter_, nullptr)();
  }

 private:
  std::move_only_function<void()> waiter_;
};

}  // namespace appmesh::transport

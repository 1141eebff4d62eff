// Blocking work that goes on beside the coroutine that ordered it: the disk writes one piece while the next one comes
// from the socket. One piece of work at a time. Belongs to the executor it was made with; may be destroyed at any time,
// the work then ends unheard.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/error.h"

namespace appmesh::api {

template <typename T = void>
class Beside {
 public:
  Beside(boost::asio::any_io_executor own, boost::asio::any_io_executor worker)
      : own_(std::move(own)), worker_(std::move(worker)) {}

  [[nodiscard]] bool has_work() const { return state_ != nullptr; }

  // `work` returns Result<T> and must not throw. Only when has_work() is false.
  template <typename Work>
  void start(Work work) {
    state_ = std::make_shared<State>();
    boost::asio::post(worker_, [state = state_, own = own_, work = std::move(work)]() mutable {
      auto result = work();
      boost::asio::post(own, [state = std::move(state), result = std::move(result)]() mutable {
        if (auto waiting = std::exchange(state->waiting, nullptr)) return waiting(std::move(result));
        state->result = std::move(result);
      });
    });
  }

  // What the work gave; only when has_work().
  boost::asio::awaitable<Result<T>> join() {
    auto state = std::exchange(state_, nullptr);
    if (state->result) co_return std::move(*state->result);
    co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>&, void(Result<T>)>(
        [&state](auto handler) {
          // The work holds the state, and the state this coroutine: were it to hold the state too, a pool that ends
          // early could never give either back.
          const auto waited_for = std::move(state);
          waited_for->waiting = [handler = std::move(handler)](Result<T> result) mutable {
            std::move(handler)(std::move(result));
          };
        },
        boost::asio::use_awaitable);
  }

 private:
  struct State {
    std::optional<Result<T>> result;
    std::move_only_function<void(Result<T>)> waiting;
  };

  boost::asio::any_io_executor own_;
  boost::asio::any_io_executor worker_;
  std::shared_ptr<State> state_;
};

}  // namespace appmesh::api

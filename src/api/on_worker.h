// A hop of a handler's coroutine to a worker thread and back, for what blocks: files, hashing, /proc. Any thread.
#pragma once

#include <type_traits>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace appmesh::api {

// Runs `work` on the worker's executor; the caller goes on on its own executor with the value (or the exception).
template <typename Work>
boost::asio::awaitable<std::invoke_result_t<Work>> on_worker(boost::asio::any_io_executor worker, Work work) {
  // A named coroutine object: its captures live until it ends.
  auto body = [work = std::move(work)]() mutable -> boost::asio::awaitable<std::invoke_result_t<Work>> {
    co_return work();
  };
  co_return co_await boost::asio::co_spawn(worker, std::move(body), boost::asio::use_awaitable);
}

}  // namespace appmesh::api

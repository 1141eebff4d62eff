// A handler's coroutine asks the engine and goes on, on its own executor, with the answer. Any I/O thread.
#pragma once

#include <type_traits>
#include <utility>

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/error.h"
#include "engine/engine.h"

namespace appmesh::api {

// `ask` is called with a Done<T> that the engine will call once: `co_await on_engine<bool>([&](auto done) { … })`.
template <typename T, typename Ask>
boost::asio::awaitable<Result<T>> on_engine(Ask ask) {
  auto initiate = [&ask](auto handler) {
    auto executor = boost::asio::get_associated_executor(handler);
    ask(engine::Done<T>([handler = std::move(handler), executor](Result<T> result) mutable {
      boost::asio::post(executor, [handler = std::move(handler), result = std::move(result)]() mutable {
        std::move(handler)(std::move(result));
      });
    }));
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Result<T>)>(
      initiate, boost::asio::use_awaitable);
}

}  // namespace appmesh::api

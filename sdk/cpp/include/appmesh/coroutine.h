// The client's calls as coroutines, with nothing but the standard library:
//
//   appmesh::Task<int> both(appmesh::Background& background) {
//     auto app = co_await background([](appmesh::Client& client) { return client.get_app("web"); });
//     auto output = co_await background([](appmesh::Client& client) { return client.app_output("web"); });
//     co_return static_cast<int>(output.text.size());
//   }
//   int size = appmesh::sync_wait(both(background));
//
// A Background runs calls on threads of its own, as many at a time as it has, and lets the coroutine go on where
// `resume` says: on that thread, or handed to an event loop ([&](auto go_on) { asio::post(context, std::move(go_on));
// }). It must outlive the coroutines that use it.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <appmesh/client.h>

namespace appmesh {

namespace detail {
template <typename T>
using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

// A value, an exception, or nothing yet.
template <typename T>
class Outcome {
 public:
  template <typename Make>
  void set_from(Make&& make) noexcept {
    try {
      if constexpr (std::is_void_v<T>) {
        std::forward<Make>(make)();
        what_.template emplace<1>();
      } else {
        what_.template emplace<1>(std::forward<Make>(make)());
      }
    } catch (...) {
      what_.template emplace<2>(std::current_exception());
    }
  }
  void fail(std::exception_ptr error) noexcept { what_.template emplace<2>(std::move(error)); }
  T take() {
    if (what_.index() == 2) std::rethrow_exception(std::get<2>(what_));
    if constexpr (!std::is_void_v<T>) return std::move(std::get<1>(what_));
  }

 private:
  std::variant<std::monostate, Stored<T>, std::exception_ptr> what_;
};
}  // namespace detail

class Background {
 public:
  using Resume = std::function<void(std::function<void()>)>;

  explicit Background(Client& client, unsigned threads = 4, Resume resume = {})
      : client_(client), resume_(std::move(resume)) {
    for (unsigned i = 0; i < (threads == 0 ? 1 : threads); ++i) threads_.emplace_back([this] { work(); });
  }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  // Waits for the calls that were begun.
  ~Background() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  template <typename Call>
  auto operator()(Call call) {
    using Result = std::invoke_result_t<Call&, Client&>;
    struct Awaitable {
      Background& background;
      Call call;
      detail::Outcome<Result> outcome;

      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiting) {
        background.post([this, waiting] {
          outcome.set_from([this]() -> Result { return call(background.client_); });
          background.resume_ ? background.resume_([waiting] { waiting.resume(); }) : waiting.resume();
        });
      }
      Result await_resume() { return outcome.take(); }
    };
    return Awaitable{*this, std::move(call), {}};
  }

 private:
  void post(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return over_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  Client& client_;
  Resume resume_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> jobs_;
  bool over_ = false;
  std::vector<std::thread> threads_;
};

// A coroutine that starts when it is awaited (or given to sync_wait) and has one result.
template <typename T = void>
class [[nodiscard]] Task {
  struct PromiseBase {
    detail::Outcome<T> outcome;
    std::coroutine_handle<> continuation = std::noop_coroutine();

    std::suspend_always initial_suspend() noexcept { return {}; }
    auto final_suspend() noexcept {
      struct Continue {
        bool await_ready() noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<>) noexcept { return next; }
        void await_resume() noexcept {}
        std::coroutine_handle<> next;
      };
      return Continue{continuation};
    }
    void unhandled_exception() noexcept { outcome.fail(std::current_exception()); }
  };
  struct ValuePromise : PromiseBase {
    template <typename V>
    void return_value(V&& value) {
      this->outcome.set_from([&]() -> T { return std::forward<V>(value); });
    }
  };
  struct VoidPromise : PromiseBase {
    void return_void() noexcept {
      this->outcome.set_from([] {});
    }
  };

 public:
  struct promise_type : std::conditional_t<std::is_void_v<T>, VoidPromise, ValuePromise> {
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaitable {
      std::coroutine_handle<promise_type> handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) noexcept {
        handle.promise().continuation = waiting;
        return handle;
      }
      T await_resume() { return handle.promise().outcome.take(); }
    };
    return Awaitable{handle_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {
// Starts at once and belongs to nobody: the root of sync_wait.
struct Detached {
  struct promise_type {
    Detached get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
};

template <typename T>
Detached run_and_open(Task<T> task, Outcome<T>& outcome, std::shared_ptr<Gate> gate) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(task);
      outcome.set_from([] {});
    } else {
      T value = co_await std::move(task);
      outcome.set_from([&]() -> T { return std::move(value); });
    }
  } catch (...) {
    outcome.fail(std::current_exception());
  }
  const std::lock_guard lock(gate->mutex);
  gate->open = true;
  gate->changed.notify_all();
}
}  // namespace detail

// Runs a coroutine to its end and gives its result to a thread that is none.
template <typename T>
T sync_wait(Task<T> task) {
  detail::Outcome<T> outcome;
  const auto gate = std::make_shared<detail::Gate>();
  detail::run_and_open(std::move(task), outcome, gate);
  std::unique_lock lock(gate->mutex);
  gate->changed.wait(lock, [&] { return gate->open; });
  return outcome.take();
}

}  // namespace appmesh

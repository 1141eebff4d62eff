#include "transport/io_pool.h"

#include <algorithm>
#include <exception>
#include <string>

#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>

namespace appmesh::transport {
namespace {

// A handler that throws is a bug in one connection; the thread serves others too.
void run_all(boost::asio::io_context& context) {
  for (;;) {
    try {
      context.run();
      return;
    } catch (const std::exception& e) {
      spdlog::error("an I/O handler threw: {}", e.what());
    }
  }
}

}  // namespace

IoThread::IoThread()
    : context_(std::make_unique<boost::asio::io_context>(1)),
      deadlines_(*context_),
      work_(boost::asio::make_work_guard(*context_)),
      scratch_{} {}

IoThread::~IoThread() {
  stop();
  // Unfinished coroutines go with the context and hold deadlines, so the queue outlives it; but the queue's descriptor
  // must be gone before the reactor is.
  deadlines_.shut_down();
  work_.reset();
  context_.reset();
}

void IoThread::start(std::size_t number) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // inherited by the new thread
  thread_ = std::thread([this] { run_all(*context_); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), ("io-" + std::to_string(number)).c_str());
}

void IoThread::stop() {
  context_->stop();
  if (thread_.joinable()) thread_.join();
}

IoPool::IoPool(unsigned threads) {
  for (unsigned i = 0; i < std::max(threads, 1U); ++i) threads_.push_back(std::make_unique<IoThread>());
  for (std::size_t i = 0; i < threads_.size(); ++i) threads_[i]->start(i);
}

IoPool::~IoPool() {
  stop();
}

IoThread& IoPool::next() {
  return *threads_[next_.fetch_add(1, std::memory_order_relaxed) % threads_.size()];
}

void IoPool::stop() {
  for (const auto& thread : threads_) thread->stop();
}

}  // namespace appmesh::transport

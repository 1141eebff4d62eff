#include "daemon/queued_sink.h"

#include <utility>

#include <fmt/format.h>
#include <pthread.h>

namespace appmesh::daemon {

QueuedSink::QueuedSink(std::vector<spdlog::sink_ptr> targets, std::size_t capacity)
    : targets_(std::move(targets)), capacity_(capacity), writer_([this] { write_lines(); }) {}

QueuedSink::~QueuedSink() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  more_.notify_one();
  writer_.join();
}

void QueuedSink::log(const spdlog::details::log_msg& message) {
  Line line{message.time, message.thread_id, message.level,
            std::string(message.payload.data(), message.payload.size())};
  {
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= capacity_) {
      lines_.pop_front();
      ++dropped_;
    }
    lines_.push_back(std::move(line));
  }
  more_.notify_one();
}

void QueuedSink::set_pattern(const std::string& pattern) {
  for (const auto& target : targets_) target->set_pattern(pattern);
}

void QueuedSink::replace(std::size_t index, spdlog::sink_ptr target) {
  const std::lock_guard lock(mutex_);
  replacements_.emplace_back(index, std::move(target));
}

void QueuedSink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  for (const auto& target : targets_) target->set_formatter(formatter->clone());
}

void QueuedSink::write_lines() {
  ::pthread_setname_np(::pthread_self(), "log");
  std::unique_lock lock(mutex_);
  while (true) {
    more_.wait(lock, [&] { return !lines_.empty() || ending_; });
    if (lines_.empty()) return;
    std::deque<Line> batch = std::exchange(lines_, {});
    const std::uint64_t dropped = std::exchange(dropped_, 0);
    for (auto& [index, target] : std::exchange(replacements_, {})) targets_.at(index) = std::move(target);
    lock.unlock();
    if (dropped > 0)
      batch.push_back({batch.back().time, 0, spdlog::level::warn, fmt::format("{} log lines were dropped", dropped)});
    for (const Line& line : batch) {
      spdlog::details::log_msg message(line.time, {}, {}, line.level, line.text);
      message.thread_id = line.thread_id;
      for (const auto& target : targets_) target->log(message);
    }
    for (const auto& target : targets_) target->flush();
    lock.lock();
  }
}

}  // namespace appmesh::daemon

#include "transport/push_queue.h"

#include <utility>

namespace appmesh::transport {
namespace {

std::uint64_t size_of(const api::PushMessage& message) {
  std::uint64_t bytes =
      128 + message.request_uri.size() + message.body_start.size() + (message.body ? message.body->size() : 0);
  for (const auto& [name, value] : message.headers) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

bool PushQueue::push(api::PushMessage message) {
  const std::uint64_t bytes = size_of(message);
  const std::lock_guard lock(mutex_);
  if (ended_ || overflowed_) return false;
  const bool was_empty = waiting_.empty();
  if (waiting_.size() + unsent_messages_ >= limits_.messages ||
      waiting_bytes_ + unsent_bytes_ + bytes > limits_.bytes) {
    overflowed_ = true;
    std::exchange(waiting_, {});
  } else {
    waiting_bytes_ += bytes;
    waiting_.push_back(std::move(message));
  }
  // Under the lock, so that end() is sure that nobody is inside.
  if (was_empty || overflowed_) wake_();
  return !overflowed_;
}

std::shared_ptr<void> PushQueue::hold_pushes() {
  {
    const std::lock_guard lock(mutex_);
    ++holds_;
  }
  return {nullptr, [self = shared_from_this()](void*) { self->release_hold(); }};
}

void PushQueue::release_hold() {
  const std::lock_guard lock(mutex_);
  if (--holds_ == 0 && !waiting_.empty() && wake_) wake_();
}

bool PushQueue::is_behind() const {
  constexpr std::size_t kShare = 8;
  const std::lock_guard lock(mutex_);
  return waiting_.size() + unsent_messages_ > limits_.messages / kShare ||
         waiting_bytes_ + unsent_bytes_ > limits_.bytes / kShare;
}

void PushQueue::on_end(std::move_only_function<void()> ended) {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) {
      at_end_.push_back(std::move(ended));
      return;
    }
  }
  ended();
}

std::vector<api::PushMessage> PushQueue::take() {
  const std::lock_guard lock(mutex_);
  if (holds_ > 0) return {};
  waiting_bytes_ = 0;
  return std::exchange(waiting_, {});
}

void PushQueue::set_unsent(std::size_t messages, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  unsent_messages_ = messages;
  unsent_bytes_ = bytes;
}

bool PushQueue::overflowed() const {
  const std::lock_guard lock(mutex_);
  return overflowed_;
}

std::vector<std::move_only_function<void()>> PushQueue::close() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  std::exchange(waiting_, {});
  wake_ = nullptr;
  return std::exchange(at_end_, {});
}

void PushQueue::end() {
  for (auto& ended : close()) ended();
}

void PushQueue::abandon() {
  close();
}

}  // namespace appmesh::transport

#include "event_hub.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <thread>

#include <appmesh/app.h>
#include <appmesh/error.h>
#include <appmesh/wire/json_text.h>

namespace appmesh {
namespace {

constexpr std::size_t kMaxUnclaimed = 64;          // subscriptions that nobody reads
constexpr std::size_t kMaxUnclaimedEvents = 1000;  // of each
constexpr std::size_t kMaxQueued = 100'000;        // for a reader or a callback that is slow

}  // namespace

// The queue of one subscription, and the thread of its callback.
class Subscription::State {
 public:
  State(std::string subscription_id, std::string app) : id(std::move(subscription_id)), app_name(std::move(app)) {}
  ~State() {
    // Nobody can join it any more, and it is at its end: it held a share of this.
    if (thread_.joinable()) thread_.detach();
  }

  void start(const std::shared_ptr<State>& self, EventCallback callback) {
    const std::lock_guard lock(mutex_);
    if (callback_) throw ClientError(ErrorKind::kUsage, "the subscription has a callback already");
    if (closed_ && events_.empty()) return;
    callback_ = std::move(callback);
    read_ = true;
    thread_ = std::thread([self] { self->pump(); });
  }

  // False when nobody has asked for its events yet.
  bool put(Event event) {
    const std::lock_guard lock(mutex_);
    if (closed_) return true;
    if (events_.size() >= (read_ ? kMaxQueued : kMaxUnclaimedEvents)) {
      events_.pop_front();
      ++lost_;
    }
    events_.push_back(std::move(event));
    changed_.notify_one();
    return read_;
  }

  // Drops what waits, unless somebody reads.
  void forget() {
    const std::lock_guard lock(mutex_);
    if (read_) return;
    lost_ += events_.size();
    events_.clear();
  }

  bool is_read() {
    const std::lock_guard lock(mutex_);
    return read_;
  }

  std::optional<Event> next(std::optional<std::chrono::milliseconds> timeout) {
    std::unique_lock lock(mutex_);
    read_ = true;
    const auto ready = [this] { return closed_ || !events_.empty(); };
    if (timeout) {
      if (!changed_.wait_for(lock, *timeout, ready)) return std::nullopt;
    } else {
      changed_.wait(lock, ready);
    }
    if (events_.empty()) return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    if (event.type == kDisconnectedEvent || (event.type == "REMOVED" && app_name != "*")) closed_ = true;
    return event;
  }

  // Not even events that wait come any more.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    events_.clear();
    changed_.notify_all();
  }

  // True once its callback is not called any more.
  [[nodiscard]] bool pumped() const { return pumped_; }
  void join() {
    std::thread thread;
    {
      const std::lock_guard lock(mutex_);
      thread.swap(thread_);
    }
    if (!thread.joinable()) return;
    thread.get_id() == std::this_thread::get_id() ? thread.detach() : thread.join();
  }

  std::uint64_t lost() {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

  const std::string id;
  const std::string app_name;

 private:
  void pump() {
    while (const auto event = next(std::nullopt)) {
      try {
        callback_(*event);
      } catch (...) {
        // A library has no log to tell it to.
      }
    }
    pumped_ = true;
  }

  std::mutex mutex_;        // guards what follows
  EventCallback callback_;  // set once, before its thread starts
  bool read_ = false;
  std::thread thread_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  std::uint64_t lost_ = 0;
  bool closed_ = false;
  std::atomic<bool> pumped_{false};
};

const std::string& Subscription::id() const {
  static const std::string kNone;
  return state_ ? state_->id : kNone;
}
const std::string& Subscription::app_name() const {
  static const std::string kNone;
  return state_ ? state_->app_name : kNone;
}
std::optional<Event> Subscription::next(std::optional<std::chrono::milliseconds> timeout) {
  return state_ ? state_->next(timeout) : std::nullopt;
}
void Subscription::on_event(EventCallback callback) {
  if (!state_ || !callback) throw ClientError(ErrorKind::kUsage, "no subscription, or no callback");
  state_->start(state_, std::move(callback));
}
std::uint64_t Subscription::lost() const {
  return state_ ? state_->lost() : 0;
}

namespace detail {
namespace {

std::optional<Event> read_event(const EventMessage& message) {
  boost::system::error_code error;
  boost::json::value body = wire::read_json(message.body, error);
  if (error || !body.is_object()) return std::nullopt;
  const App fields(body.get_object());
  Event event;
  event.type = fields.text("event_type").value_or("");
  event.app_name = fields.text("app_name").value_or("");
  event.subscription_id = fields.text("subscription_id").value_or("");
  event.timestamp = fields.number("timestamp").value_or(0);
  event.sequence = static_cast<std::uint64_t>(std::max<std::int64_t>(0, fields.number("sequence").value_or(0)));
  if (const auto* data = fields.json().if_contains("data"); data != nullptr && data->is_object()) {
    event.data = data->get_object();
  }
  return event;
}

Event disconnected(const Subscription::State& subscription, const std::string& reason) {
  return {.type = kDisconnectedEvent,
          .app_name = subscription.app_name,
          .subscription_id = subscription.id,
          .data = {{"reason", reason}}};
}

}  // namespace

Subscription EventHub::attach(const std::string& id, const std::string& app_name, EventCallback callback) {
  auto state = std::make_shared<Subscription::State>(id, app_name);
  {
    const std::lock_guard lock(mutex_);
    drop_idle();
    if (const auto early = unclaimed_.extract(id); !early.empty()) {
      std::erase(unclaimed_order_, id);
      bool read = true;
      for (Event& event : early.mapped()) read = state->put(std::move(event));
      if (!read && !callback) keep_unread(state);
    }
    if (const auto before = subscriptions_.extract(id); !before.empty()) {
      before.mapped()->close();
      over_.push_back(before.mapped());
    }
    subscriptions_.emplace(id, state);
  }
  if (callback) state->start(state, std::move(callback));
  return Subscription(state);
}

void EventHub::drop_idle() {
  std::erase_if(over_, [](const StatePtr& state) {
    // Without a handle, and a thread holds one, nobody will ever ask for its events.
    if (!state->pumped() && state.use_count() > 1) return false;
    state->join();
    return true;
  });
}

void EventHub::keep_unread(const StatePtr& state) {
  if (std::find(unread_.begin(), unread_.end(), state) != unread_.end()) return;
  std::erase_if(unread_, [](const StatePtr& each) { return each->is_read(); });
  unread_.push_back(state);
  if (unread_.size() <= kMaxUnclaimed) return;
  unread_.front()->forget();
  unread_.pop_front();
}

void EventHub::detach(const std::string& id) {
  StatePtr state;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = subscriptions_.extract(id); !found.empty()) state = found.mapped();
    unclaimed_.erase(id);
    std::erase(unclaimed_order_, id);
    if (state) over_.push_back(state);
    std::erase(unread_, state);
  }
  if (state) state->close();
}

void EventHub::take(const EventMessage& message) {
  if (auto event = read_event(message)) deliver(std::move(*event));
}

void EventHub::deliver(Event event) {
  const std::lock_guard lock(mutex_);
  const auto found = subscriptions_.find(event.subscription_id);
  if (found == subscriptions_.end()) {
    auto [kept, is_new] = unclaimed_.try_emplace(event.subscription_id);
    if (is_new) {
      unclaimed_order_.push_back(event.subscription_id);
      if (unclaimed_order_.size() > kMaxUnclaimed) {
        unclaimed_.erase(unclaimed_order_.front());
        unclaimed_order_.pop_front();
      }
    }
    if (kept->second.size() >= kMaxUnclaimedEvents) kept->second.pop_front();
    kept->second.push_back(std::move(event));
    return;
  }
  const StatePtr state = found->second;
  if (event.type == "REMOVED" && state->app_name != "*") {
    over_.push_back(state);
    subscriptions_.erase(found);
  }
  if (!state->put(std::move(event))) keep_unread(state);
}

void EventHub::end(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, state] : subscriptions_) {
    state->put(disconnected(*state, reason));
    over_.push_back(state);
  }
  subscriptions_.clear();
  unclaimed_.clear();
  unclaimed_order_.clear();
}

void EventHub::close() {
  std::list<StatePtr> all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(over_);
    unread_.clear();
    for (auto& [id, state] : subscriptions_) all.push_back(state);
    subscriptions_.clear();
  }
  for (const auto& state : all) {
    state->close();
    state->join();
  }
}

}  // namespace detail
}  // namespace appmesh

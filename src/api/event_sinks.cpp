#include "api/event_sinks.h"

#include <atomic>

#include <appmesh/wire/json_text.h>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/app_access.h"

namespace appmesh::api {

namespace {

using namespace std::chrono_literals;

constexpr auto kKeepAlive = 15s;
constexpr std::size_t kMostEvents = 10'000;  // that wait for one reader of a stream
constexpr std::uint64_t kMostBytes = 16ULL * 1024 * 1024;
constexpr std::uint64_t kBehindBytes = 1024ULL * 1024;

class ConnectionSink : public engine::EventSink {
 public:
  ConnectionSink(std::shared_ptr<Connection> connection, const security::UserDirectory& users, std::string user)
      : connection_(std::move(connection)), access_(users, std::move(user)) {}

  bool take(const engine::EventPtr& event, const std::string& subscription) override {
    if (!open_) return false;
    if (!access_.may_see(*event->app)) return true;
    return connection_->push({.request_uri = "/appmesh/event",
                              .content_type = std::string(kJsonType),
                              .headers = {{"X-Subscription-Id", subscription},
                                          {"X-Event-Type", std::string(engine::to_string(event->kind))},
                                          {"X-App-Name", event->app->name}},
                              .body_start = fmt::format(R"({{"subscription_id":"{}",)", subscription),
                              .body = std::shared_ptr<const std::string>(event, &event->members)});
  }
  [[nodiscard]] bool is_behind() const override { return connection_->is_behind(); }
  [[nodiscard]] bool is_open() const override { return open_; }
  void ended(const std::string& /*subscription*/) override {}

  void close() { open_ = false; }

 private:
  std::shared_ptr<Connection> connection_;
  EventAccess access_;
  std::atomic<bool> open_{true};
};

}  // namespace

bool EventAccess::may_see(const core::AppDefinition& app) {
  if (const auto generation = users_.generation(); !known_ || generation != generation_) {
    generation_ = generation;
    known_ = true;
    const auto snapshot = users_.snapshot();
    const security::User* user = snapshot->find(user_);
    principal_ = user == nullptr || user->locked ? nullptr : snapshot->principal(user_);
  }
  return principal_ && may_access(users_, *principal_, app, core::Access::read);
}

std::shared_ptr<engine::EventSink> EventSinks::of(const std::shared_ptr<Connection>& connection,
                                                  const std::string& user) {
  const std::pair key(connection.get(), user);
  std::shared_ptr<ConnectionSink> made;
  {
    const std::lock_guard lock(mutex_);
    auto& known = sinks_[key];
    if (auto sink = known.lock()) return sink;
    made = std::make_shared<ConnectionSink>(connection, users_, user);
    known = made;
  }
  connection->on_end([this, key, made] {
    made->close();
    engine_.drop_sink(made);
    const std::lock_guard lock(mutex_);
    sinks_.erase(key);
  });
  return made;
}

// ---- Server-Sent Events
// ------------------------------------------------------------------------------------------------------

EventStream::EventStream(boost::asio::any_io_executor executor, const security::UserDirectory& users, std::string user)
    : timer_(std::move(executor)), access_(users, std::move(user)), last_words_(), piece_() {}

bool EventStream::take(const engine::EventPtr& event, const std::string& /*subscription*/) {
  const bool visible = access_.may_see(*event->app);
  const std::unique_lock lock(mutex_);
  if (!open_) return false;
  if (!visible) return true;
  if (queue_.size() >= kMostEvents || bytes_ + event->members.size() > kMostBytes) {
    spdlog::warn("a stream of events ends: {} events wait for its reader", queue_.size());
    finish("too slow: too many events wait");
    return false;
  }
  queue_.push_back(event);
  bytes_ += event->members.size();
  wake();
  return true;
}

bool EventStream::is_behind() const {
  const std::lock_guard lock(mutex_);
  return bytes_ > kBehindBytes;
}

bool EventStream::is_open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

void EventStream::ended(const std::string& /*subscription*/) {
  const std::lock_guard lock(mutex_);
  if (expected_ > 0 && --expected_ == 0) finish("every application of this stream was removed");
}

void EventStream::close() {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  bytes_ = 0;
  finish({});
}

void EventStream::lose(const Error& why) {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  bytes_ = 0;
  finish(why.message);
}

void EventStream::lose_one(const Error& why) {
  const std::lock_guard lock(mutex_);
  if (expected_ > 0 && --expected_ == 0) finish(why.message);
}

// With the lock held.
void EventStream::finish(std::string_view reason) {
  if (!open_) return;
  open_ = false;
  if (!reason.empty())
    last_words_ = fmt::format("event: END\ndata: {{\"reason\":{}}}\n\n", wire::write_json(boost::json::string(reason)));
  wake();
}

void EventStream::wake() {
  if (!std::exchange(waiting_, false)) return;
  boost::asio::post(timer_.get_executor(), [self = shared_from_this()] { self->timer_.cancel(); });
}

boost::asio::awaitable<Result<std::string_view>> EventStream::next() {
  bool waited = false;
  if (piece_.empty()) co_return piece_ = ": subscribed\n\n";
  for (;;) {
    engine::EventPtr event;
    {
      const std::lock_guard lock(mutex_);
      if (!queue_.empty()) {
        event = std::move(queue_.front());
        queue_.pop_front();
        bytes_ -= event->members.size();
      } else if (!open_) {
        piece_ = std::exchange(last_words_, {});
        co_return piece_;
      } else {
        waiting_ = true;
      }
    }
    if (event) {
      piece_ = fmt::format("id: {}\nevent: {}\ndata: {{{}\n\n", event->sequence, engine::to_string(event->kind),
                           event->members);
      co_return piece_;
    }
    if (waited) {
      piece_ = ": keep-alive\n\n";
      co_return piece_;
    }
    timer_.expires_after(kKeepAlive);
    {
      // What came between the look and here has found nothing to cancel.
      const std::lock_guard lock(mutex_);
      if (!waiting_) continue;
    }
    boost::system::error_code woken;
    co_await timer_.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, woken));
    waited = !woken;
  }
}

EventStreamBody::~EventStreamBody() {
  stream_->close();
  engine_.drop_sink(stream_);
}

}  // namespace appmesh::api

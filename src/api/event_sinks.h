// Where events go: a connection that may be sent to unasked, or a stream of Server-Sent Events. What a sink is given
// is checked against what its user may see at that moment; that a subscription ends with the right to it is the work of
// its LongRight. EventSinks is made by the daemon and used on any thread.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api/body.h"
#include "api/connection.h"
#include "engine/engine.h"
#include "security/user_directory.h"

namespace appmesh::api {

// Whether a user may be told of an app, as users, roles and the app are now. Used on one thread.
class EventAccess {
 public:
  EventAccess(const security::UserDirectory& users, std::string user) : users_(users), user_(std::move(user)) {}
  [[nodiscard]] bool may_see(const core::AppDefinition& app);

 private:
  const security::UserDirectory& users_;
  std::string user_;
  std::uint64_t generation_ = 0;
  bool known_ = false;
  std::shared_ptr<const security::Principal> principal_;  // null: nothing is told any more
};

// One sink for each user of a connection, however many subscriptions are made over it.
class EventSinks {
 public:
  EventSinks(engine::Engine& engine, const security::UserDirectory& users) : engine_(engine), users_(users) {}
  EventSinks(const EventSinks&) = delete;
  EventSinks& operator=(const EventSinks&) = delete;

  [[nodiscard]] std::shared_ptr<engine::EventSink> of(const std::shared_ptr<Connection>& connection,
                                                      const std::string& user);

 private:
  engine::Engine& engine_;
  const security::UserDirectory& users_;
  std::mutex mutex_;
  std::map<std::pair<const Connection*, std::string>, std::weak_ptr<engine::EventSink>> sinks_;
};

// Events as text/event-stream. The engine tells it, the connection's thread sends: the two meet in a bounded queue.
class EventStream : public engine::EventSink, public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(boost::asio::any_io_executor executor, const security::UserDirectory& users, std::string user);

  bool take(const engine::EventPtr& event, const std::string& subscription) override;
  [[nodiscard]] bool is_behind() const override;
  [[nodiscard]] bool is_open() const override;
  void ended(const std::string& subscription) override;

  // Before the first subscription.
  void expect(std::size_t subscriptions) { expected_ = subscriptions; }
  // Nothing more is told; what waits is dropped. On any thread.
  void lose(const Error& why);
  // The same for one of its subscriptions.
  void lose_one(const Error& why);
  // The next text to send, good until the next call; empty: the end. On the connection's thread.
  boost::asio::awaitable<Result<std::string_view>> next();
  void close();

 private:
  void wake();
  void finish(std::string_view reason);

  boost::asio::steady_timer timer_;  // of the connection's thread: its end, early or not, lets next() go on
  EventAccess access_;
  mutable std::mutex mutex_;
  std::deque<engine::EventPtr> queue_;
  std::uint64_t bytes_ = 0;
  bool waiting_ = false;
  bool open_ = true;
  std::string last_words_;  // after the last event
  std::size_t expected_ = 0;
  std::string piece_;
};

// What the HTTP transport holds of an EventStream: with it the subscriptions end.
class EventStreamBody : public BodySource {
 public:
  EventStreamBody(engine::Engine& engine, std::shared_ptr<EventStream> stream)
      : engine_(engine), stream_(std::move(stream)) {}
  ~EventStreamBody() override;
  EventStreamBody(const EventStreamBody&) = delete;
  EventStreamBody& operator=(const EventStreamBody&) = delete;

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
  [[nodiscard]] boost::asio::awaitable<Result<std::string_view>> next() override { return stream_->next(); }
  void cancel() override { stream_->close(); }
  void lose(const Error& why) override { stream_->lose(why); }

 private:
  engine::Engine& engine_;
  std::shared_ptr<EventStream> stream_;
};

}  // namespace appmesh::api

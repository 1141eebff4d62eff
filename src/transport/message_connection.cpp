// Past 500 lines: requests, files, pushes and the patient acknowledgement of one connection share its queue.
#include "transport/message_connection.h"

#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include <appmesh/wire/message.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/body.h"
#include "api/call.h"
#include "core/text.h"
#include "platform/random.h"
#include "transport/request_id.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kOwnedBodyBytes = 64UL * 1024;  // a body from here on is not copied out of its buffer
constexpr std::chrono::milliseconds kCompanyTime{2};  // that a patient answer waits at most
constexpr std::uint64_t kRequestBytes = 1024;         // what a request costs beside its body, about

std::string fresh_uuid() {
  static const std::string prefix = platform::random_hex(8);
  static std::atomic<std::uint64_t> counter{0};
  const std::uint64_t number = counter.fetch_add(1, std::memory_order_relaxed);
  return fmt::format("{}-{}-4{}-8{:03x}-{:012x}", prefix.substr(0, 8), prefix.substr(8, 4), prefix.substr(12, 3),
                     number >> 48 & 0xFFF, number & 0xFFFFFFFFFFFF);
}

}  // namespace

// A request that is being answered: where the answer goes, and what it takes of the limits until then. On the
// connection's thread but for reply().
class MessageConnection::Turn final : public api::Call {
 public:
  Turn(const std::shared_ptr<MessageConnection>& connection, std::string_view uuid, std::string_view request_uri,
       std::size_t body_bytes)
      : Call(request),
        shared_(connection->shared_),
        thread_(connection->thread_),
        connection_(connection),
        uuid_(uuid),
        request_uri_(core::repair_utf8(request_uri)),
        bytes_(kRequestBytes + body_bytes) {
    ++connection->outstanding_;
    all_ = shared_->outstanding.fetch_add(1, std::memory_order_relaxed) + 1;
    all_bytes_ = shared_->buffered_bytes.fetch_add(bytes_, std::memory_order_relaxed) + bytes_;
  }
  ~Turn() override { release(); }

  api::Request request;

  // Why it cannot be answered now, or empty.
  [[nodiscard]] std::string_view refusal() const {
    const auto connection = connection_.lock();
    if (connection->outstanding_ > shared_->limits.outstanding)
      return "too many requests of this connection wait for their answer";
    if (all_ > shared_->limits.outstanding_of_all) return "too many requests wait for their answer";
    if (all_bytes_ > shared_->limits.buffered_bytes) return "too many request bodies at once";
    return {};
  }

  void when_peer_leaves(std::move_only_function<void()> left) {
    if (finished_) return;
    const auto connection = connection_.lock();
    if (!connection) return left();
    left_ = std::move(left);
    connection->waiting_.insert(this);
  }
  void peer_left() {
    if (left_) std::exchange(left_, nullptr)();
  }

  void expire_after(std::chrono::seconds limit, std::move_only_function<void()> expired) override {
    if (finished_) return;
    expired_ = std::move(expired);
    deadline_.emplace(thread_.deadlines(), [this] {
      const auto self = shared_from_this();
      std::exchange(expired_, nullptr)();
    });
    deadline_->set(limit);
  }

  [[nodiscard]] api::Service& service() const { return *shared_->service; }
  void finish(api::Response response) {
    if (std::exchange(finished_, true)) return;
    deadline_.reset();
    if (const auto connection = connection_.lock()) {
      if (left_) connection->waiting_.erase(this);
      left_ = nullptr;
      connection->reply(uuid_, request_uri_, std::move(response));
    }
    release();
  }
  [[nodiscard]] std::shared_ptr<Turn> self() { return std::static_pointer_cast<Turn>(shared_from_this()); }

 private:
  void deliver(api::Response response) override {
    if (thread_.context().get_executor().running_in_this_thread()) return finish(std::move(response));
    asio::post(thread_.context(),
               [self = self(), response = std::move(response)]() mutable { self->finish(std::move(response)); });
  }

  // One that is never finished goes with its daemon, and then on any thread.
  void release() {
    if (std::exchange(released_, true)) return;
    shared_->outstanding.fetch_sub(1, std::memory_order_relaxed);
    shared_->buffered_bytes.fetch_sub(bytes_, std::memory_order_relaxed);
    if (!finished_) return;
    const auto connection = connection_.lock();
    if (!connection) return;
    --connection->outstanding_;
    connection->written();
  }

  const std::shared_ptr<MessageShared> shared_;
  IoThread& thread_;
  const std::weak_ptr<MessageConnection> connection_;
  const std::string uuid_;
  const std::string request_uri_;
  const std::uint64_t bytes_;
  std::size_t all_ = 0;
  std::uint64_t all_bytes_ = 0;
  std::move_only_function<void()> left_;
  std::move_only_function<void()> expired_;
  std::optional<Deadline> deadline_;
  bool finished_ = false;
  bool released_ = false;
};

MessageConnection::MessageConnection(std::shared_ptr<MessageShared> shared, IoThread& thread, TlsStream stream,
                                     std::string peer, api::TransportKind kind, std::string authorization)
    : shared_(std::move(shared)),
      thread_(thread),
      stream_(std::move(stream)),
      receive_deadline_(thread.deadlines(), [this] { close_because("it is too slow with what it began"); }),
      peer_(std::move(peer)),
      kind_(kind),
      authorization_(std::move(authorization)),
      write_deadline_(thread.deadlines(), [this] { close_because("it does not read"); }),
      company_deadline_(thread.deadlines(), [this] { flush(); }) {}

// Without finish() the process is ending, and nobody is left to be told.
MessageConnection::~MessageConnection() {
  static_cast<void>(account_received(0));
  if (pushes_) pushes_->abandon();
}

asio::awaitable<void> MessageConnection::run() {
  std::exception_ptr problem;
  try {
    co_await serve();
  } catch (...) {
    problem = std::current_exception();
  }
  finish();
  if (problem) std::rethrow_exception(problem);
}

void MessageConnection::finish() {
  stream_.send_close_notify();
  stream_.close();
  receive_deadline_.clear();
  write_deadline_.clear();
  company_deadline_.clear();
  outbox_.clear();
  static_cast<void>(account_received(0));
  std::vector<std::shared_ptr<Turn>> left;  // one that is told may end others
  for (Turn* turn : waiting_) left.push_back(turn->self());
  for (const auto& turn : left) turn->peer_left();
  waiting_.clear();
  upload_guard_.reset();
  download_guard_.reset();
  held_.clear();
  file_room_.notify();
  if (pushes_) pushes_->end();
}

void MessageConnection::stop() {
  stopping_ = true;
  room_.notify();
  written();
}

asio::awaitable<bool> MessageConnection::handshake() {
  receive_deadline_.set(limits().handshake_timeout);
  const Result<void> secured = co_await stream_.handshake();
  receive_deadline_.clear();
  if (!secured) spdlog::debug("TLS handshake with {}: {}", peer_, secured.error().message);
  co_return secured.has_value();
}

bool MessageConnection::account_received(std::size_t bytes) {
  if (bytes == accounted_) return true;
  const std::uint64_t change = static_cast<std::uint64_t>(bytes) - accounted_;  // modulo 2^64
  const std::uint64_t total = shared_->buffered_bytes.fetch_add(change, std::memory_order_relaxed) + change;
  const bool grew = bytes > accounted_;
  accounted_ = bytes;
  return !grew || total <= limits().buffered_bytes;
}

std::string_view MessageConnection::receive(std::string_view message) {
  return receive(message, nullptr);
}

std::string_view MessageConnection::receive(std::string buffer, std::size_t start) {
  return receive(std::string_view(buffer).substr(start), &buffer);
}

std::string_view MessageConnection::receive(std::string_view message, std::string* owner) {
  thread_local wire::Request view;  // keeps the memory of its lists
  if (const auto problem = wire::parse_request(message, view); !problem.empty()) return problem;
  if (stopping_ || ending_) return {};

  auto turn = std::make_shared<Turn>(shared_from_this(), view.uuid, view.request_uri, view.body.size());
  if (const auto refusal = turn->refusal(); !refusal.empty()) {
    turn->finish(api::message_response(refusal, 503));
    return {};
  }
  auto target = api::parse_target(view.request_uri);
  if (!target) {
    turn->finish(api::error_response(target.error()));
    return {};
  }
  api::Request& request = turn->request;
  request.method = api::parse_method(view.http_method);
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  request.query.reserve(request.query.size() + view.query.size());
  for (const auto& [name, value] : view.query) request.query.emplace_back(name, value);
  request.headers.reserve(view.headers.size());
  for (const auto& [name, value] : view.headers) request.headers.emplace_back(name, value);
  if (!authorization_.empty() && !request.header("authorization")) {
    request.headers.emplace_back("Authorization", authorization_);
  }
  request.transport = kind_;
  request.peer = peer_;
  request.id = next_request_id();
  request.connection = push_queue();
  if (owner != nullptr && view.body.size() >= kOwnedBodyBytes) {
    const auto start = static_cast<std::size_t>(view.body.data() - owner->data());
    owner->resize(start + view.body.size());
    owner->erase(0, start);
    request.body = std::move(*owner);
  } else {
    request.body = view.body;
  }
  request.when_peer_leaves = [turn = turn.get()](std::move_only_function<void()> left) {
    turn->when_peer_leaves(std::move(left));
  };
  if (turn->service().start(turn)) return {};
  asio::co_spawn(thread_.context(), answer(std::move(turn)), asio::detached);
  return {};
}

asio::awaitable<void> MessageConnection::answer(std::shared_ptr<Turn> turn) {
  turn->finish(co_await turn->service().handle(std::move(turn->request)));
}

void MessageConnection::reply(std::string_view uuid, std::string_view request_uri, api::Response response) {
  if (!stream_.is_open() || ending_) return;
  if (sending_file_) {
    held_bytes_ += response.body_view().size();
    if (held_.size() >= limits().outstanding || held_bytes_ > limits().outbound.bytes) {
      return close_because("it asks on and on while a file is sent to it");
    }
    held_.push_back({std::string(uuid), std::string(request_uri), std::move(response)});
    return;
  }
  if (response.frames_in) {
    if (take_upload(std::move(response.frames_in)))
      upload_guard_ = close_with(response.right);
    else
      response = api::message_response("A file is being sent over this connection already", 412);
  }
  const auto file = std::move(response.frames_out);
  if (response.stream) {
    response.stream->cancel();
    response = api::message_response("This answer is a stream of bytes: use HTTPS", 406);
  }
  const bool was_urgent = urgent_;
  add(uuid, request_uri, response);
  if (!stream_.is_open()) return;
  if (response.patient) urgent_ = was_urgent;
  if (file) {
    if (!send_file(file)) return close_because("it wants a file where none can be sent");
    download_guard_ = close_with(response.right);
  }
  if (in_batch_) return;
  // Other requests wait for their answers here: some may be ready too, and share the record.
  if (outstanding_ > 1) {
    flush_soon();
  } else {
    flush();
  }
}

void MessageConnection::add(std::string_view uuid, std::string_view request_uri, api::Response& response,
                            std::string_view body_start) {
  const PushLimits& most = limits().outbound;
  if (outbox_.messages() >= most.messages || outbox_.bytes() > most.bytes) {
    spdlog::warn("connection of {} ends: it does not read, and {} messages with {} bytes wait for it", peer_,
                 outbox_.messages(), outbox_.bytes());
    return end_slow_peer();
  }
  thread_local std::string head;
  thread_local std::string message;
  head.clear();
  message.clear();
  wire::Response shown;
  shown.uuid = uuid;
  shown.request_uri = request_uri;
  shown.http_status = response.status;
  shown.body_msg_type = response.content_type;
  const std::size_t body_bytes = body_start.size() + response.body_view().size();
  if (body_bytes > wire::kMaxMessageBytes - wire::kMaxTextBytes) {
    response = api::message_response("The answer is longer than a message may be", 500);
    return add(uuid, request_uri, response);
  }
  wire::append_response_head(message, shown, response.headers, static_cast<std::uint32_t>(body_bytes));
  append_frame_head(head, message.size() + body_bytes);
  head += message;
  head += body_start;
  outbox_.add(head, std::move(response.body), std::move(response.shared_body));
  urgent_ = true;
}

asio::awaitable<bool> MessageConnection::send_now(std::string_view bytes) {
  while (stream_.is_open() && (writing_ || !outbox_.empty())) co_await file_room_.wait();  // the answer before the file
  writing_ = true;
  TlsStream::State state = TlsStream::State::done;
  while (!bytes.empty()) {
    const TlsStream::Outcome outcome = stream_.try_write(bytes);
    state = outcome.state;
    bytes.remove_prefix(outcome.bytes);
    if (state == TlsStream::State::done) continue;
    if (state != TlsStream::State::want_read && state != TlsStream::State::want_write) break;
    write_deadline_.set(limits().write_timeout);
    const bool ready = co_await stream_.wait(state);
    write_deadline_.clear();
    if (!ready) break;
  }
  writing_ = false;
  if (!bytes.empty()) stream_.close();
  co_return bytes.empty();
}

// Between the frames of a file nothing can be said: it ends with the connection.
api::WhenLost MessageConnection::close_with(std::shared_ptr<api::LongRight> right) {
  return {std::move(right), [weak = weak_from_this(), &context = thread_.context()](const Error& why) {
            asio::post(context, [weak, why] {
              if (const auto self = weak.lock()) self->close_because("the right to its file is gone: " + why.message);
            });
          }};
}

void MessageConnection::end_file() {
  sending_file_ = false;
  download_guard_.reset();
  while (!held_.empty() && !sending_file_) {
    Held held = std::move(held_.front());
    held_.pop_front();
    held_bytes_ -= held.response.body_view().size();
    reply(held.uuid, held.request_uri, std::move(held.response));
  }
  if (pushes_ && !sending_file_) take_pushes();
}

void MessageConnection::send_raw(std::string_view bytes) {
  if (!stream_.is_open() || ending_) return;
  outbox_.add(bytes, {});
  urgent_ = true;
  if (!in_batch_) flush();
}

void MessageConnection::end_batch() {
  in_batch_ = false;
  if (outbox_.empty() || urgent_ || outstanding_ == 0) return flush();
  company_deadline_.set(kCompanyTime);
}

void MessageConnection::flush_soon() {
  if (std::exchange(flush_posted_, true)) return;
  asio::post(thread_.context(), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->flush_posted_ = false;
    self->flush();
  });
}

void MessageConnection::flush() {
  company_deadline_.clear();
  urgent_ = false;
  if (writing_ || outbox_.empty() || !stream_.is_open()) return written();
  const TlsStream::State state = write_some();
  if (state == TlsStream::State::want_read || state == TlsStream::State::want_write) {
    writing_ = true;
    asio::co_spawn(thread_.context(), write_when_ready(state), asio::detached);
  }
  written();
}

// Until everything is sent (done) or the socket takes no more.
TlsStream::State MessageConnection::write_some() {
  while (!outbox_.empty()) {
    const TlsStream::Outcome outcome = stream_.try_write(outbox_.front());
    if (outcome.state == TlsStream::State::done) {
      outbox_.sent(outcome.bytes);
      continue;
    }
    if (outcome.state != TlsStream::State::want_read && outcome.state != TlsStream::State::want_write) stream_.close();
    return outcome.state;
  }
  return TlsStream::State::done;
}

asio::awaitable<void> MessageConnection::write_when_ready(TlsStream::State state) {
  const auto self = shared_from_this();
  while (state == TlsStream::State::want_read || state == TlsStream::State::want_write) {
    write_deadline_.set(limits().write_timeout);
    const bool ready = co_await stream_.wait(state);
    if (!ready) break;
    state = write_some();
    written();
  }
  write_deadline_.clear();
  writing_ = false;
  written();
}

// Something was sent, or the last answer was made.
void MessageConnection::written() {
  if (pushes_) pushes_->set_unsent(outbox_.messages(), outbox_.bytes());
  if (!is_paused()) room_.notify();
  if ((outbox_.empty() && !writing_) || !stream_.is_open()) file_room_.notify();
  if (!outbox_.empty() || !stream_.is_open()) return;
  if (ending_) {
    stream_.send_close_notify();
    stream_.shut_down_sending();
    room_.notify();
  } else if (stopping_ && outstanding_ == 0) {
    stream_.send_close_notify();
    stream_.close();
    room_.notify();
  }
}

void MessageConnection::end_when_sent() {
  ending_ = true;
  flush();
}

void MessageConnection::close_because(std::string_view reason) {
  if (!stream_.is_open()) return;
  if (!ending_) log_end(reason);
  stream_.close();
  room_.notify();
}

void MessageConnection::log_end(std::string_view reason) const {
  spdlog::info("connection of {} closed: {}", peer_, reason);
}

std::shared_ptr<PushQueue> MessageConnection::push_queue() {
  if (!pushes_) {
    pushes_ = std::make_shared<PushQueue>(limits().outbound, [weak = weak_from_this(), &context = thread_.context()] {
      asio::post(context, [weak] {
        if (const auto self = weak.lock()) self->take_pushes();
      });
    });
  }
  return pushes_;
}

void MessageConnection::take_pushes() {
  if (!stream_.is_open() || ending_ || sending_file_) return;
  if (pushes_->overflowed()) {
    spdlog::warn("connection of {} ends: it reads more slowly than events are made for it", peer_);
    return end_slow_peer();
  }
  for (api::PushMessage& push : pushes_->take()) {
    api::Response response;
    response.status = push.status;
    response.content_type = std::move(push.content_type);
    response.headers = std::move(push.headers);
    response.shared_body = std::move(push.body);
    add(fresh_uuid(), push.request_uri, response, push.body_start);
    if (!stream_.is_open() || ending_) return;
  }
  flush();
}

}  // namespace appmesh::transport

#include "message_connection.h"

#include <array>
#include <chrono>

#include <appmesh/error.h>
#include <appmesh/wire/message.h>
#include <openssl/rand.h>

#include "message_text.h"

namespace appmesh::detail {
namespace {

constexpr std::string_view kEventPath = "/appmesh/event";
constexpr std::size_t kSmallBody = 16 * 1024;  // goes out with its head, in one record
constexpr std::size_t kKeptBuffer = 1024 * 1024;
constexpr std::chrono::milliseconds kSurelyThere{10};

std::string random_prefix() {
  std::array<unsigned char, 8> bytes{};
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) throw ClientError(ErrorKind::kTls, "no random numbers");
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) text.append({kHex[byte >> 4], kHex[byte & 15]});
  return text + "-";
}

}  // namespace

MessageConnection::MessageConnection(const Url& url, SSL_CTX* context, const TransportOptions& options,
                                     tls::Deadline deadline, int cancel, EventHandler on_event, EndHandler on_end)
    : on_event_(std::move(on_event)),
      on_end_(std::move(on_end)),
      prefix_(random_prefix()),
      connection_(url, context, options.tls.verify != TlsOptions::Verify::kOff, deadline, cancel),
      incoming_(options.max_body_bytes + options.max_header_bytes) {
  connection_.share();
}

MessageConnection::~MessageConnection() {
  abort("the client was closed");
  if (reader_.joinable()) reader_.join();
}

Response MessageConnection::call(const Request& request, tls::Deadline deadline, int cancel) {
  Waiter waiter;
  std::string uuid = prefix_;
  {
    const std::lock_guard lock(mutex_);
    if (ended()) throw ClientError(ErrorKind::kClosed, reason_);
    uuid += std::to_string(++count_);
    waiters_.emplace(uuid, &waiter);  // before it is sent: the answer may be here before the sending has returned
  }
  struct Leave {
    MessageConnection& connection;
    const std::string& uuid;
    ~Leave() {
      const std::lock_guard lock(connection.mutex_);
      connection.waiters_.erase(uuid);
      connection.let_another_read();
    }
  } leave{*this, uuid};
  send(uuid, request, deadline, cancel);
  wait_answer(waiter, deadline, cancel);
  return std::move(waiter.answer);
}

void MessageConnection::send(std::string_view uuid, const Request& request, tls::Deadline deadline, int cancel) {
  const std::lock_guard lock(sending_);
  outgoing_.clear();
  append_message_head(outgoing_, uuid, request);
  const bool together = request.body.size() <= kSmallBody;
  if (together) outgoing_ += request.body;
  try {
    connection_.write_shared(outgoing_, tls_, deadline, cancel);
    if (!together) connection_.write_shared(request.body, tls_, deadline, cancel);
  } catch (const ClientError& error) {
    // Half a message is on its way: nothing can follow it.
    end(error.what());
    throw;
  }
  if (outgoing_.capacity() > kKeptBuffer) outgoing_.shrink_to_fit();
}

void MessageConnection::wait_answer(Waiter& waiter, tls::Deadline deadline, int cancel) {
  std::unique_lock lock(mutex_);
  while (!waiter.answered) {
    if (ended()) throw ClientError(ErrorKind::kClosed, reason_);
    if (!reading_) {
      reading_ = true;
      lock.unlock();
      try {
        read_one(deadline, cancel);
      } catch (const ClientError& error) {
        const bool ours = error.kind() == ErrorKind::kTimeout || error.kind() == ErrorKind::kCancelled;
        lock.lock();
        reading_ = false;
        if (ours) {
          if (waiter.answered) return;
          throw;
        }
        lock.unlock();
        end(error.what());
        lock.lock();
        continue;
      }
      lock.lock();
      reading_ = false;
    } else if (!deadline) {
      waiter.wake.wait(lock);
    } else if (waiter.wake.wait_until(lock, *deadline) == std::cv_status::timeout && !waiter.answered && !ended()) {
      throw ClientError(ErrorKind::kTimeout, "no answer in time");
    }
  }
}

void MessageConnection::let_another_read() {
  if (!reading_ && !waiters_.empty()) waiters_.begin()->second->wake.notify_one();
}

void MessageConnection::read_one(tls::Deadline deadline, int cancel) {
  for (;;) {
    if (const auto message = incoming_.front()) {
      hand_on(*message);
      incoming_.pop();
      return;
    }
    const std::size_t count = connection_.read_shared(incoming_.room(), tls_, deadline, cancel);
    if (count == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
    incoming_.filled(count);
  }
}

void MessageConnection::hand_on(std::string_view bytes) {
  wire::Response message;
  if (const auto problem = wire::parse_response(bytes, message); !problem.empty()) {
    throw ClientError(ErrorKind::kProtocol, "the server's message is malformed: " + std::string(problem));
  }
  const std::string uuid(message.uuid);
  std::unique_lock lock(mutex_);
  const auto found = waiters_.find(uuid);
  if (found != waiters_.end()) {
    Waiter& waiter = *found->second;
    waiter.answer = to_response(message);
    waiter.answered = true;
    last_answer_ = tls::Clock::now();
    waiter.wake.notify_one();
    return;
  }
  lock.unlock();
  // Anything else answers a call that was given up.
  if (message.request_uri == kEventPath && on_event_) on_event_({copy_headers(message), std::string(message.body)});
}

void MessageConnection::expect_events() {
  const std::lock_guard lock(mutex_);
  if (events_expected_ || ended()) return;
  events_expected_ = true;
  reader_ = std::thread([this] { read_for_events(); });
}

void MessageConnection::read_for_events() {
  std::unique_lock lock(mutex_);
  while (!ended()) {
    if (reading_) {
      // A caller reads just now, and goes on until its answer is there; events are handed on by it meanwhile.
      Waiter turn;
      waiters_.emplace("", &turn);
      turn.wake.wait(lock, [&] { return !reading_ || ended(); });
      waiters_.erase("");
      continue;
    }
    reading_ = true;
    lock.unlock();
    try {
      for (;;) read_one({}, -1);
    } catch (const ClientError& error) {
      end(error.what());
    }
    lock.lock();
    reading_ = false;
  }
}

void MessageConnection::abort(const std::string& reason) {
  end(reason);
}

void MessageConnection::end(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (ended()) return;
    reason_ = reason;
    ended_.store(true, std::memory_order_release);
    for (const auto& [uuid, waiter] : waiters_) waiter->wake.notify_one();
  }
  connection_.hang_up();  // whoever reads wakes up
  if (on_end_) on_end_(reason);
}

bool MessageConnection::usable() {
  if (ended()) return false;
  const std::lock_guard lock(mutex_);
  if (reading_ || !waiters_.empty()) return true;  // whoever reads will notice
  // One call after the other need not look each time, which is a system call.
  if (tls::Clock::now() - last_answer_ < kSurelyThere) return true;
  const std::lock_guard tls(tls_);
  return !connection_.hung_up();
}

}  // namespace appmesh::detail

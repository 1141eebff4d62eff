// Waiting for the end of a run: by its events where there are any, else by long polls of its output.
#include <algorithm>

#include <appmesh/client.h>

#include "session.h"

namespace appmesh {
namespace {

using Clock = std::chrono::steady_clock;

// The daemon answers a long poll as soon as there is news: this only bounds how long a dead peer goes unnoticed.
constexpr std::chrono::seconds kPoll{20};

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD, what an event has in place of invalid UTF-8

ClientError removed(const Run& run) {
  return {ErrorKind::kRemoved, "the app " + run.name + " was removed before its run had ended", 404};
}

}  // namespace

// Puts reads of a run's output and its events together: each byte goes to the handler once and in order.
class Client::RunWatch {
 public:
  RunWatch(Client& client, const Run& run, const OutputHandler& on_output)
      : client_(client), run_(run), on_output_(on_output), query_{.process_uuid = run.process_uuid} {}

  // One read, that waits for news at most so long. True when it brought output.
  bool read(std::chrono::seconds wait) {
    query_.wait = wait;
    Output output;
    try {
      output = client_.app_output(run_.name, query_);
    } catch (const ClientError& error) {
      if (error.status() != 404) throw;
      throw removed(run_);
    }
    if (output.run_changed) {
      throw ClientError(ErrorKind::kStatus, "the run " + run_.process_uuid + " is not the newest of " + run_.name, 417);
    }
    // The oldest output may have been given up: what comes may begin later than was asked for.
    const std::uint64_t next = std::max(output.position, query_.position);
    if (!output.text.empty() && on_output_) on_output_(output.text, next - output.text.size());
    const bool more = next > query_.position;
    query_.position = next;
    if (output.exit_code) ended_with_ = output.exit_code;
    if (ended_with_ && !more) exit_code_ = ended_with_;
    return more;
  }

  // Everything that there is by now.
  void back_fill() {
    while (read(std::chrono::seconds{0})) continue;
  }

  // One event, in the order of arrival.
  void take(const Event& event) {
    if (event.type == "STDOUT") {
      take_output(event.data);
    } else if (event.type == "EXIT") {
      const auto* code = event.data.if_contains("exit_code");
      if (code == nullptr || !code->is_int64())
        throw ClientError(ErrorKind::kProtocol, "an exit came without its code");
      ended_with_ = static_cast<int>(code->get_int64());
      if (finished_) {
        exit_code_ = ended_with_;
      } else {
        back_fill();
      }
    } else if (event.type == "REMOVED") {
      throw removed(run_);
    } else if (event.type == kDisconnectedEvent) {
      throw ClientError(ErrorKind::kClosed, "the connection ended while waiting for " + run_.name);
    }
  }

  [[nodiscard]] bool has_ended() const { return ended_with_.has_value(); }
  [[nodiscard]] std::optional<int> exit_code() const { return exit_code_; }

 private:
  void take_output(const boost::json::object& data) {
    const auto* output = data.if_contains("output");
    const auto* position = data.if_contains("position");
    const auto* finished = data.if_contains("finished");
    if (output == nullptr || !output->is_string() || position == nullptr || !position->is_number()) {
      throw ClientError(ErrorKind::kProtocol, "an event of output came without it");
    }
    const auto from = position->to_number<std::uint64_t>();
    const std::string_view text(output->get_string());
    if (from > query_.position || text.find(kReplacement) != std::string_view::npos) {
      // Events were dropped, or the bytes are not what the program wrote: what it wrote can be read.
      back_fill();
    } else if (const std::uint64_t known = query_.position - from; known < text.size()) {
      const std::uint64_t at = query_.position;
      query_.position = from + text.size();
      if (on_output_) on_output_(text.substr(known), at);
    }
    if (finished != nullptr && finished->is_bool()) finished_ = finished_ || finished->get_bool();
  }

  Client& client_;
  const Run& run_;
  const OutputHandler& on_output_;
  OutputQuery query_;              // its position is that of the next byte
  bool finished_ = false;          // the event that ends the output has come
  std::optional<int> ended_with_;  // known, but some of the output may be missing
  std::optional<int> exit_code_;
};

std::optional<int> Client::wait(const Run& run, const OutputHandler& on_output, std::chrono::milliseconds timeout) {
  std::optional<Clock::time_point> end;
  if (timeout.count() > 0) end = Clock::now() + timeout;
  RunWatch watch(*this, run, on_output);
  auto subscription = subscribe_to_run(run);
  const auto code = subscription ? watch_run(watch, *subscription, end) : poll_run(watch, end);
  if (code) delete_app(run.name);
  return code;
}

// Nothing when events do not tell of this run, or may not be had.
std::optional<Subscription> Client::subscribe_to_run(const Run& run) {
  // Events come from the daemon that one is connected to, not from the one behind it.
  if (!transport_->has_events() || !options_.forward_to.empty()) return std::nullopt;
  try {
    return subscribe(run.name, {"STDOUT", "EXIT", "REMOVED"});
  } catch (const ClientError& error) {
    // Who may not subscribe may still read.
    if (error.status() == 403 || error.status() == 404 || error.status() == 405) return std::nullopt;
    throw;
  }
}

std::optional<int> Client::watch_run(RunWatch& watch, Subscription& subscription,
                                     std::optional<std::chrono::steady_clock::time_point> end) {
  struct Leave {
    Client& client;
    const Subscription& subscription;
    ~Leave() {
      try {
        client.unsubscribe(subscription);
      } catch (const std::exception&) {
        // Then it has ended with its connection.
      }
    }
  } leave{*this, subscription};
  watch.back_fill();
  while (!watch.exit_code()) {
    std::optional<std::chrono::milliseconds> left;
    if (end) {
      left = std::max(std::chrono::ceil<std::chrono::milliseconds>(*end - Clock::now()), std::chrono::milliseconds{0});
    }
    const auto event = subscription.next(left);
    if (!event) return std::nullopt;
    watch.take(*event);
  }
  return watch.exit_code();
}

std::optional<int> Client::poll_run(RunWatch& watch, std::optional<std::chrono::steady_clock::time_point> end) {
  for (;;) {
    std::chrono::seconds wait = kPoll;
    if (end) {
      // Whole seconds are asked for, and at least one: the last poll may end a little late.
      wait = std::clamp(std::chrono::ceil<std::chrono::seconds>(*end - Clock::now()), std::chrono::seconds{1}, kPoll);
    }
    watch.read(wait);
    if (watch.exit_code()) return watch.exit_code();
    if (!watch.has_ended() && end && Clock::now() >= *end) return std::nullopt;
  }
}

}  // namespace appmesh

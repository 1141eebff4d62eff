#include "slot_server.h"

#include <algorithm>
#include <utility>

#include <poll.h>

#include "tcp_url.h"
#include "worker_calls.h"

namespace appmesh::detail {
namespace {

// A result waits so long, or until so much has gathered, for others that leave with it. So slow work is answered task
// by task, while tasks of microseconds leave by the dozen.
constexpr std::chrono::milliseconds kGather{1};
constexpr std::size_t kGatherBytes = 256 * 1024;
// How long a connection that is given up waits for the daemon to have taken the last results.
constexpr std::chrono::seconds kParting{1};

struct Over {};     // stopped or superseded: serve() ends without an error
struct NoSlots {};  // the daemon is an older one
struct Lost {
  ClientError why;
};

// A broken connection must not be mistaken for what `work` throws, which may be a ClientError as well.
template <typename Step>
auto over_the_wire(Step step) {
  try {
    return step();
  } catch (const ClientError& error) {
    if (error.kind() == ErrorKind::kCancelled) throw Over{};
    throw Lost{error};
  }
}

}  // namespace

SlotServer::SlotServer(const WorkerOptions& options, const std::string& path, unsigned slots,
                       const std::atomic<bool>& stopped, int wake)
    : options_(options),
      stopped_(stopped),
      wake_(wake),
      url_(parse_tcp_url(options.url)),
      context_(tls::make_context(options.transport.tls, url_)),
      question_(slots_question(path)) {
  for (unsigned slot = 0; slot < slots; ++slot) {
    slots_.push_back({.fetch = worker_request("GET", path, options.process_key, slot),
                      .answer = worker_request("PUT", path, options.process_key, slot)});
  }
}

bool SlotServer::serve(const Work& work) {
  while (!stopped_) {
    try {
      serve_connection(work);
    } catch (const Over&) {
      return true;
    } catch (const NoSlots&) {
      return false;
    } catch (const Lost& lost) {
      if (options_.retries && losses_ >= *options_.retries) throw lost.why;
      ++losses_;
    }
    pollfd pause{wake_, POLLIN, 0};
    ::poll(&pause, 1, static_cast<int>(kFetchAgainAfter.count()));
  }
  return true;
}

void SlotServer::connect() {
  try {
    pipeline_.emplace(url_, context_.get(), options_.transport, wake_);
  } catch (const ClientError& error) {
    if (error.kind() == ErrorKind::kCancelled) throw Over{};
    if (error.connection_lost()) throw Lost{error};
    throw;  // a certificate that is not trusted does not get better
  }
  // Whatever was in hand comes again, each task to its slot.
  unconfirmed_ = 0;
  for (Slot& slot : slots_) {
    slot.fetching = 0;
    slot.again.reset();
  }
}

void SlotServer::ask_for_slots() {
  pipeline_->add(question_);
  const Response response = over_the_wire([&] {
    pipeline_->flush(patience(), wake_);
    return pipeline_->next(patience(), wake_).response;
  });
  try {
    if (!knows_slots(response)) throw NoSlots{};
  } catch (const ClientError& error) {
    if (may_fetch_again(error)) throw Lost{error};
    throw;
  }
}

void SlotServer::serve_connection(const Work& work) {
  connect();
  ask_for_slots();
  try {
    for (;;) {
      send();
      auto answer = receive();
      while (answer) {
        take(std::move(*answer), work);
        answer = another_comes_along() ? receive() : std::nullopt;
      }
    }
  } catch (const Lost&) {
    throw;
  } catch (...) {
    part();
    throw;
  }
}

void SlotServer::send() {
  if (stopped_) throw Over{};
  std::optional<tls::Clock::time_point> now;
  for (Slot& slot : slots_) {
    if (slot.fetching != 0) continue;
    if (slot.again) {
      if (!now) now = tls::Clock::now();
      if (*slot.again > *now) continue;
      slot.again.reset();
    }
    slot.fetching = pipeline_->add(slot.fetch);
  }
  over_the_wire([&] { pipeline_->flush(patience(), wake_); });
}

// Nothing when a slot may fetch again.
std::optional<Pipeline::Answer> SlotServer::receive() {
  tls::Deadline again;
  for (const Slot& slot : slots_) {
    if (slot.again && (!again || *slot.again < *again)) again = slot.again;
  }
  const tls::Deadline silence = patience();
  const bool again_first = again && (!silence || *again <= *silence);
  return over_the_wire([&]() -> std::optional<Pipeline::Answer> {
    try {
      return pipeline_->next(again_first ? again : silence, wake_);
    } catch (const ClientError& error) {
      if (again_first && error.kind() == ErrorKind::kTimeout) return std::nullopt;
      throw;
    }
  });
}

void SlotServer::take(Pipeline::Answer answer, const Work& work) {
  Slot* const slot = fetched_by(answer.number);
  Response& response = answer.response;
  if (slot == nullptr) {  // it is of a result
    if (unconfirmed_ > 0) --unconfirmed_;
    if (is_superseded(response)) throw Over{};
    if (!is_settled(response)) fail(response);
    return;
  }
  slot->fetching = 0;
  if (response.status != 200) return take_refusal(*slot, response);
  losses_ = slot->refusals = 0;
  if (pipeline_->unsent_bytes() == 0) batch_began_ = tls::Clock::now();
  slot->answer.body = work(std::move(response.body));
  pipeline_->add(slot->answer);
  slot->answer.body = {};
  ++unconfirmed_;
}

void SlotServer::take_refusal(Slot& slot, const Response& response) {
  if (is_superseded(response)) throw Over{};
  try {
    fail(response);
  } catch (const ClientError& error) {
    if (!may_fetch_again(error) || (options_.retries && slot.refusals >= *options_.retries)) throw;
  }
  ++slot.refusals;
  slot.again = tls::Clock::now() + kFetchAgainAfter;
}

bool SlotServer::another_comes_along() {
  const std::size_t unsent = pipeline_->unsent_bytes();
  if (unsent > kGatherBytes || (unsent > 0 && tls::Clock::now() - batch_began_ > kGather)) return false;
  return over_the_wire([&] { return pipeline_->has_next(); });
}

// Results that are ready shall reach their callers. The answers are waited for because a connection that is closed
// while something lies there unread takes with it what it has not sent yet.
void SlotServer::part() {
  try {
    const tls::Deadline deadline = tls::Clock::now() + kParting;
    pipeline_->flush(deadline, -1);
    while (unconfirmed_ > 0) {
      if (fetched_by(pipeline_->next(deadline, -1).number) == nullptr) --unconfirmed_;
    }
  } catch (const ClientError&) {
    // There is nobody left to tell.
  }
}

SlotServer::Slot* SlotServer::fetched_by(std::uint64_t number) {
  const auto found = std::ranges::find(slots_, number, &Slot::fetching);
  return found == slots_.end() ? nullptr : &*found;
}

tls::Deadline SlotServer::patience() const {
  const auto limit = options_.transport.read_timeout;
  return limit.count() > 0 ? tls::Deadline(tls::Clock::now() + limit) : std::nullopt;
}

}  // namespace appmesh::detail

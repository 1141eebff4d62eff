#include "transport/forward_pool.h"

#include <iterator>

namespace appmesh::transport {

namespace asio = boost::asio;
using Clock = Deadline::Clock;

struct ForwardPool::Target {
  struct Idle {
    std::unique_ptr<Outbound> connection;
    Clock::time_point since;
  };

  Key key;
  std::shared_ptr<const TlsContext> tls;
  std::shared_ptr<TlsSessionSlot> sessions = std::make_shared<TlsSessionSlot>();
  std::deque<Idle> idle;  // the one used last is at the back, and goes first
  std::size_t outstanding = 0;
};

ForwardPool::Lease::Lease(std::shared_ptr<ForwardPool> pool, std::shared_ptr<Target> target)
    : pool_(std::move(pool)), target_(std::move(target)) {
  ++target_->outstanding;
}

ForwardPool::Lease::~Lease() {
  if (!pool_) return;  // moved away
  connection_.reset();
  --target_->outstanding;
  pool_->leave(*target_);
}

void ForwardPool::Lease::keep() {
  if (connection_) pool_->give_back(*this);
}

ForwardPool::ForwardPool(IoThread& thread, const ForwardLimits& limits)
    : thread_(thread), limits_(limits), sweep_(thread.deadlines(), [this] { close_old(); }) {}

asio::awaitable<Result<ForwardPool::Lease>> ForwardPool::acquire(std::string host, std::uint16_t port,
                                                                 std::shared_ptr<const TlsContext> tls, bool fresh) {
  auto& slot = targets_[Key(host, port)];
  if (!slot) slot = std::make_shared<Target>(Target{.key = Key(host, port), .tls = tls});
  const std::shared_ptr<Target> target = slot;
  // Certificates were reloaded: what was agreed under the old ones does not count any more.
  if (target->tls != tls) {
    target->tls = tls;
    target->idle.clear();
    target->sessions = std::make_shared<TlsSessionSlot>();
  }
  if (target->outstanding >= limits_.outstanding)
    co_return fail(ErrorKind::unavailable, "too many requests are being forwarded there");

  Lease lease(shared_from_this(), target);
  lease.tls_ = tls;
  while (!fresh && !target->idle.empty()) {
    auto connection = std::move(target->idle.back().connection);
    target->idle.pop_back();
    if (!connection->is_quiet()) continue;
    lease.connection_ = std::move(connection);
    lease.was_used_ = true;
    co_return lease;
  }
  auto opened = co_await Outbound::open(thread_, std::move(host), port, std::move(tls), target->sessions,
                                        limits_.connect_timeout);
  if (!opened) co_return std::unexpected(std::move(opened.error()));
  lease.connection_ = std::move(*opened);
  co_return lease;
}

void ForwardPool::give_back(Lease& lease) {
  Target& target = *lease.target_;
  if (stopped_ || target.tls != lease.tls_) return;
  target.idle.push_back({std::move(lease.connection_), Clock::now()});
  if (target.idle.size() > limits_.idle_connections) target.idle.pop_front();
  arm();
}

void ForwardPool::leave(Target& target) {
  if (target.outstanding != 0 || !target.idle.empty()) return;
  const auto place = targets_.find(target.key);
  if (place != targets_.end() && place->second.get() == &target) targets_.erase(place);
}

void ForwardPool::arm() {
  if (armed_) return;
  armed_ = true;
  sweep_.set(limits_.idle_timeout);
}

// One timer for all: a connection may wait for up to twice its time, and nothing wakes up when none waits.
void ForwardPool::close_old() {
  armed_ = false;
  const auto limit = Clock::now() - limits_.idle_timeout;
  bool any_left = false;
  for (auto place = targets_.begin(); place != targets_.end();) {
    Target& target = *place->second;
    while (!target.idle.empty() && target.idle.front().since <= limit) target.idle.pop_front();
    any_left = any_left || !target.idle.empty();
    const bool unused = target.idle.empty() && target.outstanding == 0;
    place = unused ? targets_.erase(place) : std::next(place);
  }
  if (any_left) arm();
}

void ForwardPool::stop() {
  stopped_ = true;
  for (auto& [key, target] : targets_) target->idle.clear();
  std::erase_if(targets_, [](const auto& each) { return each.second->outstanding == 0; });
}

}  // namespace appmesh::transport

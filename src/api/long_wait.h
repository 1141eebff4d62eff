// How a handler of a route that lasts waits: for its value, for the end of its caller's right, or for the caller to
// leave, whichever comes first. Any I/O thread.
#pragma once

#include <memory>
#include <utility>

#include <boost/asio/awaitable.hpp>

#include "api/long_requests.h"
#include "api/one_shot.h"
#include "api/request.h"
#include "core/error.h"

namespace appmesh::api {

template <typename T>
class LongWait {
 public:
  using Slot = OneShot<Result<T>>;

  // The wait begins.
  explicit LongWait(const Request& request) : slot_(std::make_shared<Slot>()) {
    lost_ = WhenLost(request.right, [slot = slot_](const Error& why) { slot->set(std::unexpected(why)); });
    if (!request.when_peer_leaves) return;
    // Nobody reads this error.
    request.when_peer_leaves([slot = slot_] { slot->set(fail(ErrorKind::unavailable, "The caller has gone")); });
  }

  // For whoever makes the value: set() says false when nobody waits any more.
  [[nodiscard]] const std::shared_ptr<Slot>& slot() const { return slot_; }
  [[nodiscard]] boost::asio::awaitable<Result<T>> get() { return slot_->get(); }

 private:
  std::shared_ptr<Slot> slot_;
  WhenLost lost_;
};

}  // namespace appmesh::api

// One request on its way to an answer that a callback gives, instead of a coroutine that waits for it: for the routes
// that are called tens of thousands of times a second and whose answer somebody else makes (tasks). A transport makes
// one and gives it to Service::start(); for a transport that waits with a coroutine, Service makes it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "api/long_requests.h"
#include "api/router.h"

namespace appmesh::api {

class Service;

class Call : public std::enable_shared_from_this<Call> {
 public:
  explicit Call(Request& request) : context{.request = request, .principal = nullptr, .variables = {}} {}
  virtual ~Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Context context;     // of the connection's thread, until the answer
  WhenLost when_lost;  // the same; for the handler

  // The answer. Any thread, but it must not throw; later answers are dropped.
  void reply(Response response);

  // `expired` is called on the connection's thread, unless the answer comes before. Once, and on that thread.
  virtual void expire_after(std::chrono::seconds limit, std::move_only_function<void()> expired) = 0;

 protected:
  // Called once, on any thread.
  virtual void deliver(Response response) = 0;

 private:
  friend class Service;
  std::atomic<bool> replied_{false};
  Service* service_ = nullptr;  // set when it is told of the end
  const Route* route_ = nullptr;
  std::chrono::steady_clock::time_point begun_;
};

}  // namespace appmesh::api

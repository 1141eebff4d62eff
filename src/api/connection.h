// A connection that outlives a request and may be sent to unasked: TCP or WebSocket. Made by the transport, held by
// requests and by the subscriptions made over it. Every call may come from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "api/request.h"

namespace appmesh::api {

// One message that nobody asked for (docs/wire.md#correlation). The body is shared: a thousand subscribers to
// one app hold one text.
struct PushMessage {
  int status = 200;
  std::string request_uri;
  std::string content_type;
  std::vector<NameValue> headers;
  std::string body_start;  // goes before the body: what is this receiver's own
  std::shared_ptr<const std::string> body;
};

class Connection {
 public:
  virtual ~Connection() = default;

  // Never waits. Messages leave in the order of the calls. False when the connection has ended, or when its queue is
  // full: then it is being closed, because a peer that does not read must not cost others.
  virtual bool push(PushMessage message) = 0;

  // While the result lives what is pushed waits, so that no event overtakes the answer that names its subscription:
  // give it to that answer (Response::hold).
  [[nodiscard]] virtual std::shared_ptr<void> hold_pushes() = 0;

  // So much waits for the peer that whoever can should send more slowly.
  [[nodiscard]] virtual bool is_behind() const = 0;

  // `ended` is called once when the connection ends, on any thread, and soon when it has ended already. It must not
  // wait.
  virtual void on_end(std::move_only_function<void()> ended) = 0;
};

}  // namespace appmesh::api

// Closes a connection to another daemon when the caller leaves while it is used for them, and only then: afterwards it
// may carry somebody else's request. Lives on the I/O thread of both.
#pragma once

#include <memory>

#include "api/request.h"
#include "transport/outbound.h"

namespace appmesh::transport {

class CallerWatch {
 public:
  CallerWatch(const api::Request& request, Outbound& connection)
      : connection_(std::make_shared<Outbound*>(&connection)) {
    if (!request.when_peer_leaves) return;
    request.when_peer_leaves([connection = connection_] {
      if (*connection != nullptr) (*connection)->close();
    });
  }
  ~CallerWatch() { *connection_ = nullptr; }
  CallerWatch(const CallerWatch&) = delete;
  CallerWatch& operator=(const CallerWatch&) = delete;

 private:
  std::shared_ptr<Outbound*> connection_;
};

}  // namespace appmesh::transport

// Closes a connection to another daemon when the caller leaves, or loses the right to what is asked there, while it is
// used for them, and only then: afterwards it may carry somebody else's request. Lives on the I/O thread of both.
#pragma once

#include <memory>

#include <boost/asio/post.hpp>

#include "api/long_requests.h"
#include "api/request.h"
#include "transport/outbound.h"

namespace appmesh::transport {

class CallerWatch {
 public:
  CallerWatch(const api::Request& request, Outbound& connection)
      : connection_(std::make_shared<Outbound*>(&connection)) {
    lost_ = api::WhenLost(request.right,
                          [connection = connection_, &context = connection.thread().context()](const Error& /*why*/) {
                            boost::asio::post(context, [connection] {
                              if (*connection != nullptr) (*connection)->close();
                            });
                          });
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
  api::WhenLost lost_;
};

}  // namespace appmesh::transport

// One request to another daemon over its TCP port, and its answer: msgpack messages in frames (docs/wire.md#frames,
// #messages, #tcp-files). A leased connection carries one request at a time, so answers need no sorting and a file
// may follow an answer. Everything happens on the lease's I/O thread.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "api/request.h"
#include "transport/forward_pool.h"

namespace appmesh::transport {

// When the caller leaves meanwhile, the connection is closed, so that the other daemon knows it too. `answered`: a byte
// of an answer came, so the request must not be sent again. Errors: bad_gateway; method_not_allowed for a subscription,
// whose events would have no way back.
[[nodiscard]] boost::asio::awaitable<Result<api::Response>> exchange_tcp(ForwardPool::Lease lease,
                                                                         const api::Request& request, unsigned hops,
                                                                         bool& answered);

}  // namespace appmesh::transport

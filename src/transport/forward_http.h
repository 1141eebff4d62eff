// One request to another daemon over HTTPS, and its answer. Everything happens on the lease's I/O thread.
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "api/request.h"
#include "transport/forward_pool.h"

namespace appmesh::transport {

// `head` as http_head() makes it. A short answer is taken whole; to a caller over HTTP a longer one, or one without a
// known length, becomes Response::stream, which holds the lease. When the caller leaves meanwhile, the connection is
// closed, so that the other daemon knows it too. `answered`: a byte of an answer came, so the request must not be sent
// again. Error: bad_gateway.
[[nodiscard]] boost::asio::awaitable<Result<api::Response>> exchange_http(ForwardPool::Lease lease,
                                                                          const api::Request& request, std::string head,
                                                                          bool& answered);

}  // namespace appmesh::transport

// The body of a request whose route takes it while it arrives. Inner part of HttpConnection: made for one request, on
// the connection's I/O thread; the connection ends it when the request is answered.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "api/body.h"
#include "transport/http_connection.h"

namespace appmesh::transport {

class HttpConnection::Body final : public api::BodyReader {
 public:
  // Both must live until end().
  Body(HttpConnection& connection, RequestParser& parser) : connection_(&connection), parser_(&parser) {}

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override;
  [[nodiscard]] boost::asio::awaitable<Result<std::string_view>> next() override;
  void guard(const std::shared_ptr<api::LongRight>& right) override;
  void end();  // what a handler kept of it gives only errors from now on

 private:
  friend class HttpConnection;

  HttpConnection* connection_;
  RequestParser* parser_;
  std::string piece_;
  std::uint64_t received_bytes_ = 0;
  std::chrono::milliseconds waited_{0};  // for the peer alone: a slow disk is not its fault
  bool invited_ = false;
  std::shared_ptr<Body*> self_;  // for what is told late: null inside when it has ended
  std::optional<Error> lost_;
  api::WhenLost when_lost_;
};

}  // namespace appmesh::transport

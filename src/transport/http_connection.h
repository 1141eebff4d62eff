// One HTTPS connection from handshake to close: requests one after another, in order. Lives
// on one I/O thread and is kept alive by its own coroutine.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>

#include <appmesh/wire/websocket.h>
#include <boost/asio/awaitable.hpp>

#include "api/body.h"
#include "api/service.h"
#include "api/socket.h"
#include "transport/http_server.h"
#include "transport/io_pool.h"
#include "transport/listener.h"
#include "transport/message_connection.h"
#include "transport/request_parser.h"
#include "transport/response_writer.h"
#include "transport/tls_stream.h"

namespace appmesh::transport {

// What the connections of a listener share. The limits and the service never change.
struct HttpShared {
  HttpLimits limits;
  bool strict_transport_security = false;
  int options_status = 204;
  std::shared_ptr<api::Service> service;
  std::shared_ptr<MessageShared> messages;  // null: no connection becomes a WebSocket
  std::atomic<std::uint64_t> buffered_body_bytes{0};
};

class HttpConnection final : public Session, public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::shared_ptr<HttpShared> shared, IoThread& thread, TlsStream stream, std::string peer);
  ~HttpConnection() override;
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  boost::asio::awaitable<void> run() override;
  void stop() override;  // an answer that is made while it is sent may have no end, so it is cut

 private:
  enum class Received : std::uint8_t { request, closed, refused };

  boost::asio::awaitable<bool> serve_one();  // false: the connection ends
  boost::asio::awaitable<bool> answer(RequestParser& parser);
  boost::asio::awaitable<bool> wait_for_bytes();
  boost::asio::awaitable<Received> receive(RequestParser& parser, BadRequest& refusal);
  boost::asio::awaitable<bool> send(const api::Response& response, const ResponseStyle& style);
  boost::asio::awaitable<bool> write(std::string_view data);

  // Bodies that are taken while they arrive: http_body.cpp.
  class Body;
  boost::asio::awaitable<Result<void>> fill(RequestParser& parser, Body& body);

  // Answers that are made while they are sent: http_streaming.cpp.
  struct Streaming;
  struct StreamingEnd;
  boost::asio::awaitable<bool> send_stream(const api::Response& response, const ResponseStyle& style);
  void lose_stream(Streaming& streaming, const Error& why);
  boost::asio::awaitable<bool> send_pieces(api::BodySource& source, bool chunked);
  boost::asio::awaitable<bool> write_chunk(std::string_view piece);
  static boost::asio::awaitable<void> watch_peer(std::shared_ptr<HttpConnection> self,
                                                 std::shared_ptr<Streaming> streaming);
  boost::asio::awaitable<void> upgrade(const api::Request& request);

  // Conversations that a route holds over a WebSocket: http_socket.cpp.
  struct Socket;
  boost::asio::awaitable<void> converse(std::shared_ptr<api::SocketHandler> handler,
                                        std::shared_ptr<api::LongRight> right);
  static boost::asio::awaitable<void> read_socket(std::shared_ptr<HttpConnection> self, std::shared_ptr<Socket> socket);
  boost::asio::awaitable<bool> take_frames(Socket& socket);  // false: nothing more is read
  boost::asio::awaitable<bool> send_frame(Socket& socket, wire::WebSocketOpcode opcode, std::string_view payload);
  void end_socket(Socket& socket, api::SocketEnd why);
  void stop_socket();
  [[nodiscard]] bool take_early_bytes();  // false: the peer has gone
  boost::asio::awaitable<void> refuse(const BadRequest& refusal);
  boost::asio::awaitable<void> answer_last(const api::Response& response);
  void watch_for_hang_up();
  // The last answer was sent while the peer may still be sending: it must be able to read that answer.
  boost::asio::awaitable<void> linger();
  [[nodiscard]] bool consume(RequestParser& parser, std::string_view fresh, BadRequest& refusal);
  [[nodiscard]] bool account_body(std::size_t bytes);  // false: all connections together hold too much
  void set_receive_deadline(const RequestParser& parser);

  const std::shared_ptr<HttpShared> shared_;
  IoThread& thread_;
  TlsStream stream_;
  const std::string peer_;
  Deadline deadline_;
  std::string input_;  // received and not yet parsed: part of a header, or pipelined requests
  std::size_t accounted_body_bytes_ = 0;
  Deadline::Clock::time_point header_started_{};
  Deadline::Clock::time_point body_started_{};
  bool busy_ = false;  // a request is being answered
  std::shared_ptr<Streaming> streaming_;
  std::shared_ptr<Socket> socket_;
  bool watching_peer_ = false;
  std::move_only_function<void()> peer_left_;  // of the request that is being answered
  bool stopping_ = false;
  std::shared_ptr<MessageConnection> web_socket_;  // what this connection has become; it has the stream
};

}  // namespace appmesh::transport

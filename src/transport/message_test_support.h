// A TCP and WebSocket server with the limits that a test wants, and blocking clients of both. For one test thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>
#include <appmesh/wire/websocket.h>
#include <boost/asio/awaitable.hpp>
#include <gtest/gtest.h>
#include <unistd.h>

#include "api/connection.h"
#include "transport/http_server.h"
#include "transport/tcp_server.h"
#include "transport/test_support.h"

namespace appmesh::transport::test {

// Connections that asked for GET /subscribe, to be pushed to.
class Subscribers {
 public:
  void add(std::shared_ptr<api::Connection> connection) {
    connection->on_end([this] {
      const std::lock_guard lock(mutex_);
      ++ended_;
      changed_.notify_all();
    });
    const std::lock_guard lock(mutex_);
    connections_.push_back(std::move(connection));
  }
  [[nodiscard]] std::shared_ptr<api::Connection> last() {
    const std::lock_guard lock(mutex_);
    return connections_.empty() ? nullptr : connections_.back();
  }
  [[nodiscard]] bool wait_for_end(int count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return ended_ >= count; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<api::Connection>> connections_;
  int ended_ = 0;
};

class MessageServer {
 public:
  explicit MessageServer(const MessageLimits& limits = {}) : pool_(2) {
    api::RouteTable routes = plain_routes();
    routes.add({.method = api::Method::get,
                .pattern = "/subscribe",
                .requirement = api::Requirement::free(),
                .handler = [this](api::Context& context) -> boost::asio::awaitable<api::Response> {
                  subscribers_.add(context.request.connection);
                  co_return api::text_response("subscribed");
                },
                .summary = "test"});
    routes.add({.method = api::Method::get,
                .pattern = "/subscribe/early",
                .requirement = api::Requirement::free(),
                .handler = [](api::Context& context) -> boost::asio::awaitable<api::Response> {
                  api::Response response = api::text_response("subscribed");
                  response.hold = context.request.connection->hold_pushes();
                  context.request.connection->push(
                      {.request_uri = "/appmesh/event", .body = std::make_shared<const std::string>("early")});
                  // The connection has its turn, and would send the event.
                  for (int i = 0; i < 3; ++i)
                    co_await boost::asio::post(co_await boost::asio::this_coro::executor, boost::asio::use_awaitable);
                  co_return response;
                },
                .summary = "test"});
    routes.add({.method = api::Method::get,
                .pattern = "/thread",
                .requirement = api::Requirement::free(),
                .handler = [](api::Context&) -> boost::asio::awaitable<api::Response> {
                  co_return api::text_response(std::to_string(::gettid()));
                },
                .summary = "test"});
    auto service = std::make_shared<api::Service>(std::move(routes), nobody_, api::CrossSitePolicy{});
    const ListenOptions listen{.tls = certificates().server_options()};
    tcp_ = serve_tcp({.listen = listen, .limits = limits}, pool_, service).value();
    HttpServerOptions web = web_socket_options(listen);
    web.web_socket = limits;
    web_ = serve_https(web, pool_, service).value();
  }

  [[nodiscard]] Listener& tcp() { return *tcp_; }
  [[nodiscard]] Listener& web() { return *web_; }
  [[nodiscard]] Subscribers& subscribers() { return subscribers_; }

 private:
  Nobody nobody_;
  Subscribers subscribers_;
  IoPool pool_;
  std::unique_ptr<Listener> tcp_;
  std::unique_ptr<Listener> web_;
};

inline std::string request_message(std::string_view uuid, std::string_view path, std::string_view method = "GET",
                                   std::string_view body = {}) {
  wire::Request request;
  request.uuid = uuid;
  request.request_uri = path;
  request.http_method = method;
  const std::vector<wire::TextPair> none;
  std::string out;
  wire::append_request_head(out, request, none, none, static_cast<std::uint32_t>(body.size()));
  return out.append(body);
}

struct MessageReply {
  std::string uuid;
  std::string path;
  int status = 0;  // 0: none came
  std::string body;
};

inline MessageReply parse_reply(std::string_view message) {
  wire::Response response;
  if (!wire::parse_response(message, response).empty()) return {};
  return {std::string(response.uuid), std::string(response.request_uri), response.http_status,
          std::string(response.body)};
}

class TcpTestClient : public Client {
 public:
  explicit TcpTestClient(MessageServer& server) : Client(server.tcp().port()) {}

  bool send_message(std::string_view message) {
    std::string frame;
    wire::append_frame_header(frame, static_cast<std::uint32_t>(message.size()));
    return send(frame.append(message));
  }
  MessageReply receive_message() {
    const std::string head = read_exactly(wire::kFrameHeaderBytes);
    if (head.size() < wire::kFrameHeaderBytes) return {};
    return parse_reply(read_exactly(wire::read_frame_header(head).value_or(0)));
  }
  MessageReply ask(std::string_view path, std::string_view method = "GET", std::string_view body = {}) {
    send_message(request_message("u", path, method, body));
    return receive_message();
  }
};

class WebSocketTestClient : public Client {
 public:
  explicit WebSocketTestClient(MessageServer& server) : Client(server.web().port()) {
    send(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: appmesh-ws\r\n\r\n");
    upgrade_ = receive();
  }

  [[nodiscard]] const Reply& upgrade() const { return upgrade_; }
  bool send_frame(wire::WebSocketOpcode opcode, std::string payload) {
    const wire::WebSocketMask mask = {'m', 'a', 's', 'k'};
    std::string frame;
    wire::append_websocket_head(frame, opcode, payload.size(), mask);
    wire::apply_websocket_mask(payload, mask, 0);
    return send(frame + payload);
  }
  struct Frame {
    bool came = false;
    wire::WebSocketHead head;
    std::string payload;
    [[nodiscard]] int close_code() const {
      if (!came || head.opcode != wire::WebSocketOpcode::close || payload.size() < 2) return 0;
      return static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
    }
  };
  Frame receive_frame() {
    Frame frame;
    std::string head;
    while (wire::read_websocket_head(head, frame.head) == wire::WebSocketRead::incomplete) {
      const std::string byte = read_exactly(1);
      if (byte.empty()) return frame;
      head += byte;
    }
    frame.payload = read_exactly(static_cast<std::size_t>(frame.head.payload_bytes));
    frame.came = frame.payload.size() == frame.head.payload_bytes;
    return frame;
  }
  MessageReply ask(std::string_view path, std::string_view method = "GET", std::string_view body = {}) {
    send_frame(wire::WebSocketOpcode::binary, request_message("u", path, method, body));
    return parse_reply(receive_frame().payload);
  }

 private:
  Reply upgrade_;
};

}  // namespace appmesh::transport::test

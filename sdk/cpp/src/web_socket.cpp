#include <array>
#include <utility>

#include <appmesh/error.h>
#include <appmesh/url.h>
#include <appmesh/web_socket.h>
#include <appmesh/wire/websocket.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "client_json.h"
#include "http_parser.h"
#include "tls_connection.h"

namespace appmesh {

using wire::WebSocketOpcode;

namespace {

constexpr std::string_view kKeySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kReadBytes = 16 * 1024;

std::string base64(const unsigned char* bytes, std::size_t count) {
  return base64_encode({reinterpret_cast<const char*>(bytes), count});
}

std::string random_key() {
  std::array<unsigned char, 16> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1)
    throw ClientError(ErrorKind::kTls, "no random numbers");
  return base64(bytes.data(), bytes.size());
}

std::string accept_of(const std::string& key) {
  const std::string text = key + std::string(kKeySuffix);
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  if (EVP_Digest(text.data(), text.size(), hash.data(), &length, EVP_sha1(), nullptr) != 1)
    throw ClientError(ErrorKind::kTls, "no SHA-1 for the handshake");
  return base64(hash.data(), length);
}

}  // namespace

struct WebSocket::Impl {
  Impl(std::string_view where, const TransportOptions& given, int cancel_on)
      : url(Url::parse(where)), options(given), cancel(cancel_on), context(tls::make_context(options.tls, url)) {
    connection.emplace(url, context.get(), options.tls.verify != TlsOptions::Verify::kOff,
                       tls::Clock::now() + options.connect_timeout, cancel);
  }

  void handshake(const Request& request, std::string_view protocol) {
    const std::string key = random_key();
    std::string head = "GET " + request.path;
    char separator = '?';
    for (const auto& [name, value] : request.query) {
      head += separator + percent_encode(name) + "=" + percent_encode(value);
      separator = '&';
    }
    head += " HTTP/1.1\r\nHost: " + url.authority() +
            "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
            "\r\nSec-WebSocket-Protocol: " + std::string(protocol) + "\r\n";
    for (const auto& [name, value] : request.headers) {
      if ((name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
        throw ClientError(ErrorKind::kUsage, "the header " + name + " may not hold a line break");
      head += name + ": " + value + "\r\n";
    }
    connection->write(head + "\r\n", deadline(), cancel);
    read_answer(accept_of(key));
  }

  void read_answer(const std::string& accept) {
    std::string text;
    const auto until = deadline();
    std::size_t end = 0;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      if (text.size() > options.max_header_bytes)
        throw ClientError(ErrorKind::kProtocol, "the server's answer has a header without end");
      const std::size_t count = connection->read(scratch, until, cancel);
      if (count == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
      text.append(scratch.data(), count);
    }
    if (!text.starts_with("HTTP/1.1 101 ")) refuse(std::move(text), until);
    const bool good = text.substr(0, end).find("\r\nSec-WebSocket-Accept: " + accept) != std::string::npos;
    if (!good) throw ClientError(ErrorKind::kProtocol, "the server's answer is not to this WebSocket");
    input = text.substr(end + 4);
  }

  [[noreturn]] void refuse(std::string text, tls::Deadline until) {
    http::ResponseParser parser({options.max_header_bytes, kMaxMessageBytes});
    parser.feed(text);
    while (!parser.done()) {
      const std::size_t count = connection->read(scratch, until, cancel);
      if (count == 0) {
        parser.finish();
        break;
      }
      parser.feed({scratch.data(), count});
    }
    detail::fail(parser.take());
  }

  [[nodiscard]] tls::Deadline deadline() const { return tls::Clock::now() + options.connect_timeout; }

  void send(WebSocketOpcode opcode, std::string_view payload) {
    wire::WebSocketMask mask{};
    if (RAND_bytes(reinterpret_cast<unsigned char*>(mask.data()), static_cast<int>(mask.size())) != 1)
      throw ClientError(ErrorKind::kTls, "no random numbers");
    std::string frame;
    wire::append_websocket_head(frame, opcode, payload.size(), mask);
    const std::size_t start = frame.size();
    frame.append(payload);
    wire::apply_websocket_mask(std::span(frame).subspan(start), mask, 0);
    connection->write(frame, std::nullopt, cancel);
  }

  std::optional<Message> take_frame() {
    for (;;) {
      wire::WebSocketHead head;
      const auto read = wire::read_websocket_head(input, head);
      if (read == wire::WebSocketRead::incomplete) return std::nullopt;
      if (read == wire::WebSocketRead::malformed || head.mask || head.payload_bytes > kMaxMessageBytes ||
          message.size() + head.payload_bytes > kMaxMessageBytes)
        throw ClientError(ErrorKind::kProtocol, "the server sent what is no WebSocket frame, or too long a one");
      const auto length = static_cast<std::size_t>(head.payload_bytes);
      if (input.size() < head.head_bytes + length) return std::nullopt;
      std::string payload = input.substr(head.head_bytes, length);
      input.erase(0, head.head_bytes + length);
      switch (head.opcode) {
        case WebSocketOpcode::ping:
          send(WebSocketOpcode::pong, payload);
          continue;
        case WebSocketOpcode::pong:
          continue;
        case WebSocketOpcode::close:
          return closed(payload);
        default:
          if (head.opcode != WebSocketOpcode::continuation)
            kind = head.opcode == WebSocketOpcode::text ? Message::Kind::kText : Message::Kind::kBinary;
          message += payload;
          if (!head.is_final) continue;
          return Message{kind, std::exchange(message, {}), 0};
      }
    }
  }

  Message closed(std::string_view payload) {
    Message end{Message::Kind::kClosed, {}, 0};
    if (payload.size() >= 2) {
      end.close_code = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                                  static_cast<unsigned char>(payload[1]));
      end.data = payload.substr(2);
    }
    try {
      send(WebSocketOpcode::close, payload.substr(0, 2));
    } catch (const ClientError&) {
      // The server need not wait for it.
    }
    return end;
  }

  Url url;
  TransportOptions options;
  int cancel;
  tls::Context context;
  std::optional<tls::Connection> connection;
  std::string input;
  std::string message;
  Message::Kind kind = Message::Kind::kBinary;
  std::array<char, kReadBytes> scratch{};
};

WebSocket::WebSocket(std::string_view url, const TransportOptions& options, const Request& request,
                     std::string_view protocol, int cancel)
    : impl_(std::make_unique<Impl>(url, options, cancel)) {
  impl_->handshake(request, protocol);
}
WebSocket::~WebSocket() = default;

std::optional<WebSocket::Message> WebSocket::receive() {
  for (;;) {
    if (auto message = impl_->take_frame()) return message;
    const auto count = impl_->connection->try_read(impl_->scratch);
    if (!count) return std::nullopt;
    if (*count == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
    impl_->input.append(impl_->scratch.data(), *count);
  }
}

int WebSocket::descriptor() const {
  return impl_->connection->descriptor();
}

void WebSocket::send_text(std::string_view text) {
  impl_->send(WebSocketOpcode::text, text);
}
void WebSocket::send_binary(std::string_view bytes) {
  impl_->send(WebSocketOpcode::binary, bytes);
}
void WebSocket::ping() {
  impl_->send(WebSocketOpcode::ping, {});
}

}  // namespace appmesh

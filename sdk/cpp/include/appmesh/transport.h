// What carries a request to the daemon and its answer back: HTTPS, or messages over TCP and TLS, behind one interface,
// so that Client never knows which one it uses. A transport belongs to one Client. Any thread may call it: over TCP
// many requests share one connection at the same time, over HTTPS they follow one another.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace appmesh {

using Fields = std::vector<std::pair<std::string, std::string>>;

struct Response {
  int status = 0;
  Fields headers;  // names in lower case
  std::string body;

  // First header of that name (lower case), or nothing.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
  // Content-Length, when the server named one.
  [[nodiscard]] std::optional<std::uint64_t> announced_bytes() const;
};

struct Request {
  std::string method;
  std::string path;  // every segment percent-encoded
  Fields query;      // plain text; the transport encodes it where it must
  Fields headers;
  // The file of a file route, as it is called on the host: each transport carries the name in its own way.
  std::string file;
  std::string body;
  // In place of `body`: fills the buffer and returns how much, 0 never before body_bytes are given. The server is asked
  // first whether it wants them.
  std::function<std::size_t(std::span<char>)> body_source;
  std::uint64_t body_bytes = 0;
  // Takes the body of an answer of 2xx piece by piece as it comes, whatever its length; then Response::body is empty.
  // Like body_source, over TCP only for a `file`. `head` is the answer without a body. What it throws ends the
  // exchange.
  std::function<void(const Response& head, std::string_view piece)> body_sink;
  std::chrono::milliseconds timeout{0};  // longest wait for the answer; 0 = TransportOptions::read_timeout
};

struct TlsOptions {
  enum class Verify {
    kAuto,    // a local server: the CA that its daemon made; any other: system CAs and /opt/appmesh/ssl/ca.pem
    kSystem,  // system CAs only
    kPath,    // ca_path only
    kOff,     // any certificate: for tests, or where the path is trusted by other means
  };
  Verify verify = Verify::kAuto;
  std::string ca_path;             // file or directory (hashed), with kPath
  std::string client_certificate;  // PEM chain; empty = the daemon's client.pem beside the CA when it is readable
  std::string client_key;
};

struct TransportOptions {
  TlsOptions tls;
  std::chrono::milliseconds connect_timeout{10'000};  // name look-up not included
  std::chrono::milliseconds read_timeout{0};          // 0 = wait as long as the server takes
  std::size_t max_header_bytes = 64 * 1024;
  std::uint64_t max_body_bytes = 256ull * 1024 * 1024;
};

// What the server sent without being asked: over TCP only.
struct EventMessage {
  Fields headers;  // names in lower case
  std::string body;
};

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  // Sends the request and waits for its answer, whatever its status. Throws ClientError of every kind but kStatus.
  virtual Response exchange(const Request& request) = 0;
  // A descriptor that ends a wait with ErrorKind::kCancelled as soon as it is readable; -1 = none. Not owned. For
  // clients that one thread uses: over TCP it ends the wait of the thread that reads the connection.
  virtual void cancel_on(int descriptor) = 0;
  // "host:port" of the server.
  [[nodiscard]] virtual std::string peer() const = 0;

  // Where events come from now on; called before the first subscription, and does nothing where there are none.
  // `on_event` is called in the order of arrival and must not wait; `on_end` when the connection that events came over
  // has ended.
  virtual void deliver_events(std::function<void(const EventMessage&)> on_event,
                              std::function<void(const std::string& reason)> on_end);
  // A thread reads the present connection from now on, so that events come without calls.
  virtual void expect_events() {}
  // Whether a wait may rely on events: not where there are none, nor where a descriptor shall end it.
  [[nodiscard]] virtual bool has_events() const { return false; }
};

// No connection is made before the first exchange.
// `url` is https://host[:port], port 6060 unless said.
std::unique_ptr<Transport> make_https_transport(std::string_view url, TransportOptions options = {});
// `url` is tcp://host[:port], port 6059 unless said.
std::unique_ptr<Transport> make_tcp_transport(std::string_view url, TransportOptions options = {});
// The one that the scheme names; without a scheme HTTPS.
std::unique_ptr<Transport> make_transport(std::string_view url, TransportOptions options = {});

}  // namespace appmesh

// One TLS connection over a TCP socket: connect with a time limit, send, receive. Used by one thread, or
// shared by one that reads and others that write. Waiting is always poll(), so that a deadline and the caller's cancel
// descriptor can end it.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <appmesh/transport.h>
#include <appmesh/url.h>
#include <openssl/ssl.h>

namespace appmesh::tls {

using Clock = std::chrono::steady_clock;
using Deadline = std::optional<Clock::time_point>;

struct ContextDeleter {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using Context = std::unique_ptr<SSL_CTX, ContextDeleter>;

// Trust, client certificate and protocol versions for one server. Throws ClientError(kTls).
Context make_context(const TlsOptions& options, const Url& url);

class Connection {
 public:
  // Connects and shakes hands, verifying the host name unless verification is off.
  Connection(const Url& url, SSL_CTX* context, bool verify, Deadline deadline, int cancel);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void write(std::string_view data, Deadline deadline, int cancel);
  // At least one byte; 0 when the peer has closed the stream in order.
  std::size_t read(std::span<char> buffer, Deadline deadline, int cancel);
  // What has come already; nothing when nothing has, 0 at the end.
  std::optional<std::size_t> try_read(std::span<char> buffer);
  [[nodiscard]] int descriptor() const { return socket_.get(); }
  // False when the peer has hung up or sent something while nobody asked.
  [[nodiscard]] bool quiet() const;

  // The same as write() and read() where one thread reads while another writes: `state` is held for what OpenSSL does,
  // never over a wait.
  void write_shared(std::string_view data, std::mutex& state, Deadline deadline, int cancel);
  std::size_t read_shared(std::span<char> buffer, std::mutex& state, Deadline deadline, int cancel);
  // To be called once before the first of them, and before write(), read() and quiet() were used; those may not be any
  // more. From then on an answer costs one system call: a read waits in it, with what it finds going to OpenSSL after.
  void share();
  // Whether the peer has closed or reset the connection; looks without reading.
  [[nodiscard]] bool hung_up() const;
  // Both ways, at once, from any thread: reads and writes end.
  void hang_up() const;

 private:
  class Socket {
   public:
    Socket() = default;
    explicit Socket(int descriptor) : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
      std::swap(descriptor_, other.descriptor_);
      return *this;
    }
    ~Socket();
    [[nodiscard]] int get() const { return descriptor_; }

   private:
    int descriptor_ = -1;
  };
  struct SslDeleter {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  static Socket dial(const Url& url, Deadline deadline, int cancel);
  void handshake(const Url& url, Deadline deadline, int cancel);
  // One try that does not wait. OpenSSL's verdict, 1 = good; any other is for events_after(), which finds no error of
  // before.
  int read_once(std::span<char> buffer, std::size_t& count);
  int write_once(std::string_view data, std::size_t& count);
  // What to wait for before the same is tried again, 0: the peer closed in order. Throws on every failure.
  short events_after(int result);
  // True: try again; false: the peer closed in order. Throws on every failure.
  bool after(int result, Deadline deadline, int cancel);

  // Waits for bytes of the shared connection and takes them.
  void receive(std::mutex& state, Deadline deadline, int cancel);

  // What OpenSSL reads from. Where the connection is shared, bytes are received before OpenSSL asks for them.
  struct Source {
    int descriptor = -1;
    bool shared = false;
    bool ended = false;
    std::vector<char> received;
    std::size_t begin = 0;  // of `received`, what OpenSSL has not taken yet: begin to end
    std::size_t end = 0;
  };
  static int bio_read(BIO* bio, char* data, int length);
  static int bio_write(BIO* bio, const char* data, int length);
  static const BIO_METHOD* bio_method();

  Socket socket_;
  Source source_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
};

}  // namespace appmesh::tls

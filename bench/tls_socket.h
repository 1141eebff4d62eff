// A blocking TLS connection to one server on this machine, as lean as it gets: what the load programs of both sides
// stand on, so that the servers are compared and not the clients. One thread.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <openssl/ssl.h>
#include <unistd.h>

namespace appmesh::bench {

class TlsSocket {
 public:
  explicit TlsSocket(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (fd_ < 0 || ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("cannot connect to port " + std::to_string(port));
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  TlsSocket(const TlsSocket&) = delete;
  TlsSocket& operator=(const TlsSocket&) = delete;
  ~TlsSocket() {
    ssl_.reset();
    if (fd_ >= 0) ::close(fd_);
  }

  // One line before TLS begins, for protocols that greet in plain text.
  std::string plain_line() {
    std::string line;
    for (char c = 0; c != '\n'; line += c)
      if (::recv(fd_, &c, 1, 0) != 1) throw std::runtime_error("no greeting");
    return line;
  }

  void start_tls(const std::string& ca) {
    static SSL_CTX* const context = [&] {
      SSL_CTX* made = SSL_CTX_new(TLS_client_method());
      SSL_CTX_set_min_proto_version(made, TLS1_2_VERSION);
      if (SSL_CTX_load_verify_locations(made, ca.c_str(), nullptr) != 1) throw std::runtime_error("cannot read " + ca);
      SSL_CTX_set_verify(made, SSL_VERIFY_PEER, nullptr);
      SSL_CTX_set_read_ahead(made, 1);  // one read() a record instead of two
      return made;
    }();
    ssl_.reset(SSL_new(context));
    if (SSL_set_fd(ssl_.get(), fd_) != 1 || SSL_connect(ssl_.get()) != 1)
      throw std::runtime_error("TLS handshake failed");
  }

  void write(std::string_view data) {
    while (!data.empty()) {
      const int sent = SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()));
      if (sent <= 0) throw std::runtime_error("the server closed the connection");
      data.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  // Appends what has come, at least one byte.
  void read(std::string& to) {
    char buffer[16 * 1024];
    const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (got <= 0) throw std::runtime_error("the server closed the connection");
    to.append(buffer, static_cast<std::size_t>(got));
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  int fd_;
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace appmesh::bench

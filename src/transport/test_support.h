// What the tests of this room share: certificates made with OpenSSL, a server on a free port with a few plain routes,
// and a blocking TLS client on a real socket. For one test thread.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <unistd.h>

#include "platform/unique_fd.h"
#include "transport/http_server.h"

namespace appmesh::transport::test {

template <auto Function>
struct Call {
  template <typename T>
  void operator()(T* value) const {
    Function(value);
  }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, Call<EVP_PKEY_free>>;
using CertificatePtr = std::unique_ptr<X509, Call<X509_free>>;
using FilePtr = std::unique_ptr<FILE, Call<fclose>>;

// A directory with ca.pem, server.pem + server-key.pem, client.pem + client-key.pem, and stranger.pem +
// stranger-key.pem of another CA.
class Certificates {
 public:
  Certificates() {
    std::string name = (std::filesystem::temp_directory_path() / "transport_test.XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    const KeyPtr ca_key(EVP_EC_gen("P-256"));
    const CertificatePtr ca = make("ca", ca_key.get(), nullptr, ca_key.get());
    write(ca.get(), nullptr, "ca");
    for (const char* who : {"server", "client"}) {
      const KeyPtr key(EVP_EC_gen("P-256"));
      write(make(who, key.get(), ca.get(), ca_key.get()).get(), key.get(), who);
    }
    const KeyPtr stranger(EVP_EC_gen("P-256"));
    write(make("stranger", stranger.get(), nullptr, stranger.get()).get(), stranger.get(), "stranger");
  }
  ~Certificates() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return directory_ / name; }
  [[nodiscard]] TlsOptions server_options() const {
    return {.certificate_file = file("server.pem"), .key_file = file("server-key.pem"), .ca_path = file("ca.pem")};
  }

 private:
  static CertificatePtr make(const char* name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
    CertificatePtr certificate(X509_new());
    X509* const x = certificate.get();
    X509_set_version(x, X509_VERSION_3);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_NAME* const subject = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject);
    add_extension(x, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (issuer) add_extension(x, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    X509_sign(x, issuer_key, EVP_sha256());
    return certificate;
  }
  static void add_extension(X509* x, int nid, const char* value) {
    const std::unique_ptr<X509_EXTENSION, Call<X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, nullptr, nid, value));
    X509_add_ext(x, extension.get(), -1);
  }
  void write(X509* certificate, EVP_PKEY* key, const std::string& name) const {
    const FilePtr out(std::fopen(file(name + ".pem").c_str(), "we"));
    PEM_write_X509(out.get(), certificate);
    if (!key) return;
    const FilePtr key_out(std::fopen(file(name + "-key.pem").c_str(), "we"));
    PEM_write_PrivateKey(key_out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  }

  std::filesystem::path directory_;
};

inline const Certificates& certificates() {
  static const Certificates instance;
  return instance;
}

inline platform::UniqueFd connect_to(std::uint16_t port) {
  platform::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) fd.reset();
  // So that a server that never answers fails the test instead of hanging it.
  const timeval limit{.tv_sec = 30, .tv_usec = 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  return fd;
}

// True when the peer ended or reset the connection.
inline bool is_cut_off(int fd) {
  char byte = 0;
  const ssize_t count = ::recv(fd, &byte, 1, 0);
  return count == 0 || (count < 0 && errno == ECONNRESET);
}

struct Reply {
  int status = 0;  // 0: none came
  std::string head;
  std::string body;
};

struct ClientOptions {
  std::string certificate;  // "client": sends client.pem
  int max_version = 0;
  std::string alpn;  // wire format
};

class Client {
 public:
  using Options = ClientOptions;

  explicit Client(std::uint16_t port, const Options& options = {}) : fd_(connect_to(port)) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_load_verify_locations(context_.get(), certificates().file("ca.pem").c_str(), nullptr);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
    if (options.max_version != 0) {
      SSL_CTX_set_security_level(context_.get(), 0);
      SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
      SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
    }
    if (!options.certificate.empty()) {
      const auto certificate = certificates().file(options.certificate + ".pem");
      const auto key = certificates().file(options.certificate + "-key.pem");
      SSL_CTX_use_certificate_chain_file(context_.get(), certificate.c_str());
      SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM);
    }
    ssl_.reset(SSL_new(context_.get()));
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    SSL_set_fd(ssl_.get(), fd_.get());
    ERR_clear_error();
    connected_ = SSL_connect(ssl_.get()) == 1;
  }

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] SSL* ssl() { return ssl_.get(); }
  [[nodiscard]] int fd() const { return fd_.get(); }

  bool send(std::string_view text) {
    ERR_clear_error();
    return SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) == static_cast<int>(text.size());
  }

  Reply receive() {
    std::size_t end = 0;
    while ((end = input_.find("\r\n\r\n")) == std::string::npos) {
      if (!read_more()) return {};
    }
    Reply reply;
    reply.head = input_.substr(0, end + 4);
    reply.status = std::atoi(reply.head.c_str() + 9);
    const std::size_t field = reply.head.find("Content-Length: ");
    const std::size_t length =
        field == std::string::npos ? 0 : std::strtoul(reply.head.c_str() + field + 16, nullptr, 10);
    input_.erase(0, end + 4);
    if (reply.head.find("Transfer-Encoding: chunked") != std::string::npos) {
      if (!read_chunks(reply.body)) return {};
      return reply;
    }
    while (input_.size() < length) {
      if (!read_more()) return {};
    }
    reply.body = input_.substr(0, length);
    input_.erase(0, length);
    return reply;
  }

  Reply get(std::string_view path) {
    send("GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return receive();
  }

  // Everything up to the end of the connection.
  std::string receive_rest() {
    while (read_more()) continue;
    return std::exchange(input_, {});
  }

  // Fewer when the connection ends before.
  std::string read_exactly(std::size_t count) {
    while (input_.size() < count && read_more()) continue;
    std::string out = input_.substr(0, count);
    input_.erase(0, out.size());
    return out;
  }

  // The server ended the connection and sent nothing more.
  [[nodiscard]] bool is_closed() { return input_.empty() && !read_more(); }

 private:
  bool read_chunks(std::string& body) {
    for (;;) {
      std::size_t end = 0;
      while ((end = input_.find("\r\n")) == std::string::npos) {
        if (!read_more()) return false;
      }
      const std::size_t size = std::strtoul(input_.c_str(), nullptr, 16);
      while (input_.size() < end + 2 + size + 2) {
        if (!read_more()) return false;
      }
      body.append(input_, end + 2, size);
      input_.erase(0, end + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  bool read_more() {
    char buffer[16384];
    ERR_clear_error();
    const int count = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (count <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  platform::UniqueFd fd_;
  std::unique_ptr<SSL_CTX, Call<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Call<SSL_free>> ssl_;
  bool connected_ = false;
  std::string input_;
};

class Nobody : public api::Authenticator {
 public:
  Result<api::Caller> authenticate(std::string_view) override { return fail(ErrorKind::unauthenticated, "nobody"); }
};

// GET /hello "hello", GET /big 1,000,000 bytes, POST /echo the body, GET /peer the caller's address.
inline api::RouteTable plain_routes() {
  api::RouteTable table;
  const auto add = [&](api::Method method, std::string pattern, auto answer) {
    table.add({.method = method,
               .pattern = std::move(pattern),
               .requirement = api::Requirement::free(),
               .handler = [answer](api::Context& context) -> boost::asio::awaitable<api::Response> {
                 co_return api::text_response(answer(context));
               },
               .summary = "test"});
  };
  add(api::Method::get, "/hello", [](api::Context&) { return std::string("hello"); });
  add(api::Method::get, "/big", [](api::Context&) { return std::string(1'000'000, 'b'); });
  add(api::Method::post, "/echo", [](api::Context& context) { return context.request.body; });
  add(api::Method::get, "/peer", [](api::Context& context) { return context.request.peer; });
  add(api::Method::get, "/name/{name}", [](api::Context& context) { return context.variable("name"); });
  return table;
}

// A server with its own threads and the limits that the test wants.
class TestServer {
 public:
  explicit TestServer(HttpServerOptions options = {}, api::RouteTable routes = plain_routes()) : pool_(2) {
    if (options.listen.tls.certificate_file.empty()) options.listen.tls = certificates().server_options();
    auto service = std::make_shared<api::Service>(std::move(routes), nobody_, api::CrossSitePolicy{});
    auto server = serve_https(options, pool_, std::move(service));
    if (!server) throw std::runtime_error(server.error().message);
    server_ = std::move(*server);
  }

  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  [[nodiscard]] Listener& server() { return *server_; }

  // Waits, at most half a minute, until the server has that many connections.
  [[nodiscard]] bool wait_for_connections(std::size_t count) const {
    for (int i = 0; i < 3000; ++i) {
      if (server_->connections() == count) return true;
      ::poll(nullptr, 0, 10);
    }
    return false;
  }

 private:
  Nobody nobody_;
  IoPool pool_;
  std::unique_ptr<Listener> server_;
};

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

}  // namespace appmesh::transport::test

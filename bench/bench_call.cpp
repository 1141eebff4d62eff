// What the C++ client adds to a call over TCP: the same request and answer over a bare TLS socket and by the client's
// blocking call, in turns, on two connections. Prints JSON: microseconds a call, one value a turn.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <appmesh/client.h>
#include <appmesh/url.h>
#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>
#include <openssl/ssl.h>
#include <unistd.h>

namespace {

constexpr const char* kPath = "/appmesh/user/permissions";

// OpenSSL's own blocking socket, and nothing that is not needed: the answer's length is read, the answer is not looked
// at.
class Bare {
 public:
  Bare(const std::string& ca, const std::string& host, std::uint16_t port, const std::string& token) {
    context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(context_, ca.c_str());
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
    const int on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ssl_ = SSL_new(context_);
    if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        SSL_set_fd(ssl_, socket_) != 1 || SSL_connect(ssl_) != 1)
      throw std::runtime_error("the bare socket does not connect");
    namespace wire = appmesh::wire;
    wire::Request request;
    request.uuid = "0123456789abcdef-100";
    request.request_uri = kPath;
    request.http_method = "GET";
    const appmesh::Fields headers{{"User-Agent", "appmesh/cpp"}, {"Authorization", "Bearer " + token}};
    std::string message;
    wire::append_request_head(message, request, headers, appmesh::Fields{}, 0);
    wire::append_frame_header(frame_, static_cast<std::uint32_t>(message.size()));
    frame_ += message;
    answer_.resize(1 << 20);
  }
  ~Bare() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    ::close(socket_);
  }
  void call() {
    std::size_t count = 0;
    if (SSL_write_ex(ssl_, frame_.data(), frame_.size(), &count) != 1) throw std::runtime_error("no write");
    std::size_t have = 0;
    std::size_t wanted = appmesh::wire::kFrameHeaderBytes;
    while (have < wanted) {
      if (SSL_read_ex(ssl_, answer_.data() + have, answer_.size() - have, &count) != 1)
        throw std::runtime_error("no answer");
      have += count;
      if (have >= appmesh::wire::kFrameHeaderBytes)
        wanted = appmesh::wire::kFrameHeaderBytes + appmesh::wire::read_frame_header(answer_).value();
    }
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_;
  int socket_;
  std::string frame_;
  std::string answer_;
};

template <typename Call>
double microseconds_a_call(int calls, Call call) {
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / calls;
}

void print(const char* name, const std::vector<double>& values, const char* end) {
  std::printf("\"%s\": [", name);
  for (std::size_t i = 0; i < values.size(); ++i) std::printf("%s%.3f", i == 0 ? "" : ", ", values[i]);
  std::printf("]%s", end);
}

}  // namespace

int main(int argc, char** argv) {
  std::string url;
  std::string ca;
  int calls = 500;
  int turns = 30;
  CLI::App options{"blocking calls of the C++ client over TCP, beside a bare TLS socket"};
  options.add_option("--url", url, "tcp://host:port")->required();
  options.add_option("--ca", ca)->required();
  options.add_option("--calls", calls);
  options.add_option("--turns", turns);
  CLI11_PARSE(options, argc, argv);
  try {
    const char* token = std::getenv("APPMESH_BENCH_TOKEN");
    appmesh::Client client({.url = url,
                            .transport = {.tls = {.verify = appmesh::TlsOptions::Verify::kPath, .ca_path = ca}},
                            .token = token == nullptr ? "" : token});
    const auto address = appmesh::Url::parse(url.substr(url.find("://") + 3));
    Bare bare(ca, address.host, address.port, client.token());
    const appmesh::Request request{.method = "GET", .path = kPath};
    std::vector<double> bare_times;
    std::vector<double> client_times;
    for (int turn = 0; turn <= turns; ++turn) {
      const double without = microseconds_a_call(calls, [&] { bare.call(); });
      const double with = microseconds_a_call(calls, [&] { client.call(request); });
      if (turn == 0) continue;  // warms up
      bare_times.push_back(without);
      client_times.push_back(with);
    }
    std::printf("{");
    print("bare", bare_times, ", ");
    print("client", client_times, "}\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

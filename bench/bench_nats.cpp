// The peer of bench_tasks: request and reply over nats-server with TLS, by a client as lean as ours. As --worker it is
// one of a queue group and gives every request back.
#include <charconv>
#include <iostream>
#include <memory>

#include <CLI/CLI.hpp>

#include "bench/load.h"
#include "bench/tls_socket.h"

namespace {

using namespace appmesh;

constexpr std::string_view kEnd = "\r\n";

class Nats {
 public:
  Nats(int port, const std::string& ca) : socket_(port) {
    socket_.plain_line();  // INFO; TLS follows it
    socket_.start_tls(ca);
    socket_.write(
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"lang\":\"c++\","
        "\"version\":\"1\",\"protocol\":1}\r\nPING\r\n");
    while (line() != "PONG") {
    }
  }

  void add(std::string_view text) { out_ += text; }
  void publish(std::string_view subject, std::string_view reply, std::string_view payload) {
    out_.append("PUB ").append(subject);
    if (!reply.empty()) out_.append(" ").append(reply);
    out_.append(" ").append(std::to_string(payload.size())).append(kEnd).append(payload).append(kEnd);
  }
  void flush() {
    if (out_.empty()) return;
    socket_.write(out_);
    out_.clear();
  }

  struct Message {
    std::string_view reply, payload;
  };
  // More has come already, to its last byte if no message is larger than a record.
  [[nodiscard]] bool has_next() const { return used_ < in_.size(); }
  // The next message, good until the next call.
  Message next() {
    for (;;) {
      std::string_view head = line();
      if (head == "PING") {
        socket_.write("PONG\r\n");
      } else if (head.starts_with("MSG ")) {
        head.remove_prefix(4);
        std::string_view words[4];  // subject sid [reply] bytes
        std::size_t count = 0;
        while (!head.empty() && count < 4) {
          const auto space = head.find(' ');
          words[count++] = head.substr(0, space);
          head = space == std::string_view::npos ? std::string_view{} : head.substr(space + 1);
        }
        reply_ = count == 4 ? words[2] : std::string_view{};
        std::size_t bytes = 0;
        const std::string_view number = words[count - 1];
        std::from_chars(number.data(), number.data() + number.size(), bytes);
        while (in_.size() - used_ < bytes + kEnd.size()) socket_.read(in_);
        const std::string_view payload = std::string_view(in_).substr(used_, bytes);
        used_ += bytes + kEnd.size();
        return {reply_, payload};
      } else if (head.starts_with("-ERR")) {
        throw std::runtime_error(std::string(head));
      }
    }
  }

 private:
  std::string_view line() {
    in_.erase(0, used_);
    used_ = 0;
    std::size_t end = 0;
    while ((end = in_.find(kEnd)) == std::string::npos) socket_.read(in_);
    used_ = end + kEnd.size();
    line_.assign(in_, 0, end);
    return line_;
  }

  bench::TlsSocket socket_;
  std::string in_, out_, line_, reply_;
  std::size_t used_ = 0;
};

void work(int port, const std::string& ca) {
  Nats nats(port, ca);
  nats.add("SUB work workers 1\r\nPING\r\n");
  nats.flush();
  std::cout << "ready" << std::endl;
  for (;;) {
    const auto message = nats.next();
    nats.publish(message.reply, {}, message.payload);
    if (!nats.has_next()) nats.flush();
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App parser("NATS request load");
  int port = 4222, callers = 1, count = 1000, warm_up = 50, bytes = 128;
  bool worker = false;
  std::string ca;
  parser.add_option("--port", port);
  parser.add_option("--ca", ca)->required();
  parser.add_flag("--worker", worker);
  parser.add_option("--callers", callers)->check(CLI::Range(1, 256));
  parser.add_option("--count", count)->check(CLI::Range(1, 10'000'000));
  parser.add_option("--warm-up", warm_up);
  parser.add_option("--bytes", bytes);
  CLI11_PARSE(parser, argc, argv);
  try {
    if (worker) work(port, ca);
    bench::print(bench::summary(bench::run_callers(callers, count, [&](int caller) {
      auto nats = std::make_shared<Nats>(port, ca);
      const std::string inbox = "_INBOX.bench" + std::to_string(caller);
      nats->add("SUB " + inbox + ".* 1\r\n");
      const std::string payload(static_cast<std::size_t>(bytes), static_cast<char>('a' + caller % 26));
      const auto call = [nats, inbox, payload](int number) {
        nats->publish("work", inbox + "." + std::to_string(number), payload);
        nats->flush();
        if (nats->next().payload != payload) throw std::runtime_error("another payload came back");
      };
      for (int i = 0; i < warm_up; ++i) call(i);
      return call;
    })));
  } catch (const std::exception& error) {
    std::cerr << "bench_nats: " << error.what() << "\n";
    return 1;
  }
  return 0;
}

// Messages over TCP: one connection for everybody, made at the first request and again after it has ended. A file gets
// one of its own.
#include <mutex>

#include <appmesh/error.h>
#include <appmesh/transport.h>

#include "file_channel.h"
#include "message_connection.h"
#include "tcp_url.h"

namespace appmesh {
namespace {

class TcpTransport final : public Transport {
 public:
  TcpTransport(std::string_view url, TransportOptions options)
      : url_(detail::parse_tcp_url(url)), options_(std::move(options)) {}
  ~TcpTransport() override {
    if (connection_) connection_->abort("the client was closed");
  }

  Response exchange(const Request& request) override {
    const bool streamed = request.body_source || request.body_sink;
    if (streamed && request.file.empty()) {
      throw ClientError(ErrorKind::kUsage, "streamed answers go over https://, not over tcp://");
    }
    const auto timeout = request.timeout.count() > 0 ? request.timeout : options_.read_timeout;
    tls::Deadline deadline;
    if (streamed) {
      detail::FileChannel channel(url_, context(), options_, cancel_);
      if (timeout.count() > 0) deadline = tls::Clock::now() + timeout;
      return request.body_source ? channel.upload(request, deadline) : channel.download(request, deadline);
    }
    const auto connection = connected();
    if (timeout.count() > 0) deadline = tls::Clock::now() + timeout;
    return connection->call(request, deadline, cancel_);
  }

  void cancel_on(int descriptor) override { cancel_ = descriptor; }
  [[nodiscard]] std::string peer() const override { return url_.authority(); }

  void deliver_events(std::function<void(const EventMessage&)> on_event,
                      std::function<void(const std::string&)> on_end) override {
    const std::lock_guard lock(handlers_);
    on_event_ = std::move(on_event);
    on_end_ = std::move(on_end);
  }
  void expect_events() override { connected()->expect_events(); }
  [[nodiscard]] bool has_events() const override { return cancel_ < 0; }

 private:
  SSL_CTX* context() {
    const std::lock_guard lock(mutex_);
    if (!context_) context_ = tls::make_context(options_.tls, url_);
    return context_.get();
  }

  std::shared_ptr<detail::MessageConnection> connected() {
    const std::lock_guard lock(mutex_);
    if (connection_ && connection_->usable()) return connection_;
    if (connection_) connection_->abort("the server closed the connection");
    connection_.reset();
    if (!context_) context_ = tls::make_context(options_.tls, url_);
    connection_ = std::make_shared<detail::MessageConnection>(
        url_, context_.get(), options_, tls::Clock::now() + options_.connect_timeout, cancel_,
        [this](const EventMessage& event) {
          const std::lock_guard handlers(handlers_);
          if (on_event_) on_event_(event);
        },
        [this](const std::string& reason) {
          const std::lock_guard handlers(handlers_);
          if (on_end_) on_end_(reason);
        });
    return connection_;
  }

  Url url_;
  TransportOptions options_;
  int cancel_ = -1;
  std::mutex handlers_;
  std::function<void(const EventMessage&)> on_event_;
  std::function<void(const std::string&)> on_end_;
  std::mutex mutex_;  // held while connecting: who comes meanwhile wants the same connection
  tls::Context context_;
  std::shared_ptr<detail::MessageConnection> connection_;
};

}  // namespace

void Transport::deliver_events(std::function<void(const EventMessage&)>, std::function<void(const std::string&)>) {}

std::unique_ptr<Transport> make_tcp_transport(std::string_view url, TransportOptions options) {
  return std::make_unique<TcpTransport>(url, std::move(options));
}

std::unique_ptr<Transport> make_transport(std::string_view url, TransportOptions options) {
  return detail::is_tcp_url(url) ? make_tcp_transport(url, std::move(options))
                                 : make_https_transport(url, std::move(options));
}

}  // namespace appmesh

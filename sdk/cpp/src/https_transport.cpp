#include <algorithm>
#include <array>
#include <charconv>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <appmesh/error.h>
#include <appmesh/transport.h>

#include "http_parser.h"
#include "tls_connection.h"

namespace appmesh {
namespace {

// The daemon hangs up after 120 s without a request: rather connect anew than race it.
constexpr std::chrono::seconds kReuseFor{90};
constexpr std::size_t kReadBytes = 64 * 1024;
constexpr std::size_t kUploadPieceBytes = 256 * 1024;
constexpr std::chrono::seconds kInvitationWait{3};

// '/' stays, for logs that people read.
std::string encoded_path(std::string_view path) {
  std::string out;
  for (const char c : path) out += c == '/' ? std::string("/") : percent_encode(std::string_view(&c, 1));
  return out;
}

class HttpsTransport final : public Transport {
 public:
  HttpsTransport(std::string_view url, TransportOptions options)
      : url_(Url::parse(url)), options_(std::move(options)) {}

  Response exchange(const Request& request) override {
    const std::lock_guard one_after_another(mutex_);
    const std::string head = head_of(request);
    const bool reused = reuse();
    if (!reused) connect();
    const auto timeout = request.timeout.count() > 0 ? request.timeout : options_.read_timeout;
    tls::Deadline deadline;
    if (timeout.count() > 0) deadline = tls::Clock::now() + timeout;
    try {
      return once(head, request, deadline);
    } catch (const ClientError& error) {
      connection_.reset();
      // A kept connection that the server closed at the same moment has carried nothing; anything that could have been
      // carried out twice is left to the caller (RFC 9110 9.2.2).
      if (!reused || error.kind() != ErrorKind::kClosed || request.method == "POST" || answer_started_) throw;
    }
    connect();
    try {
      return once(head, request, deadline);
    } catch (...) {
      connection_.reset();
      throw;
    }
  }

  void cancel_on(int descriptor) override { cancel_ = descriptor; }
  [[nodiscard]] std::string peer() const override { return url_.authority(); }

 private:
  [[nodiscard]] std::string head_of(const Request& request) const {
    std::string head = request.method + " " + request.path;
    char separator = '?';
    for (const auto& [name, value] : request.query) {
      head += separator + percent_encode(name) + "=" + percent_encode(value);
      separator = '&';
    }
    head += " HTTP/1.1\r\nHost: " + url_.authority() + "\r\n";
    for (const auto& [name, value] : request.headers) {
      if ((name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
        throw ClientError(ErrorKind::kUsage, "the header " + name + " may not hold a line break");
      }
      head += name + ": " + value + "\r\n";
    }
    if (!request.file.empty()) head += "X-File-Path: " + encoded_path(request.file) + "\r\n";
    if (request.body_source) {
      head += "Content-Length: " + std::to_string(request.body_bytes) + "\r\nExpect: 100-continue\r\n";
    } else if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
      head += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
    }
    return head + "\r\n";
  }

  bool reuse() {
    if (connection_ && tls::Clock::now() - last_use_ < kReuseFor && connection_->quiet()) return true;
    connection_.reset();
    return false;
  }

  void connect() {
    if (!context_) context_ = tls::make_context(options_.tls, url_);
    connection_.emplace(url_, context_.get(), options_.tls.verify != TlsOptions::Verify::kOff,
                        tls::Clock::now() + options_.connect_timeout, cancel_);
  }

  Response once(const std::string& head, const Request& request, tls::Deadline deadline) {
    answer_started_ = false;
    http::ResponseParser parser({options_.max_header_bytes, options_.max_body_bytes}, request.body_sink);
    if (request.body_source) return upload(head, request, parser, deadline);
    const std::string& body = request.body;
    connection_->write(head.size() + body.size() <= 16'384 ? head + body : head, deadline, cancel_);
    if (head.size() + body.size() > 16'384) connection_->write(body, deadline, cancel_);
    return receive(parser, deadline);
  }

  // Asks first, and looks up between the pieces: an answer before the end is a refusal.
  Response upload(const std::string& head, const Request& request, http::ResponseParser& parser,
                  tls::Deadline deadline) {
    connection_->write(head, deadline, cancel_);
    try {
      while (parser.interim_answers() == 0 && !parser.done()) {
        if (!feed(parser, tls::Clock::now() + kInvitationWait)) return finish(parser);
      }
    } catch (const ClientError& error) {
      if (error.kind() != ErrorKind::kTimeout) throw;  // RFC 9110 10.1.1: do not wait for ever
    }
    std::vector<char> piece(kUploadPieceBytes);
    std::uint64_t left = request.body_bytes;
    bool refused = parser.done();
    while (left > 0 && !refused) {
      const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(left, piece.size()));
      const std::size_t count = request.body_source(std::span(piece).first(wanted));
      if (count == 0) throw ClientError(ErrorKind::kUsage, "the file became shorter while it was sent");
      left -= count;
      try {
        connection_->write({piece.data(), count}, deadline, cancel_);
      } catch (const ClientError& error) {
        if (error.kind() != ErrorKind::kClosed) throw;
        refused = true;  // and says why, perhaps
      }
      refused = refused || !connection_->quiet();
    }
    Response response = receive(parser, deadline);
    if (left > 0) connection_.reset();
    return response;
  }

  // False: the connection ended.
  bool feed(http::ResponseParser& parser, tls::Deadline deadline) {
    const std::size_t count = connection_->read(buffer_, deadline, cancel_);
    if (count == 0) return false;
    answer_started_ = true;  // before a sink can throw
    surplus_ = count - parser.feed({buffer_.data(), count});
    return true;
  }

  Response receive(http::ResponseParser& parser, tls::Deadline deadline) {
    while (!parser.done() && feed(parser, deadline)) continue;
    return finish(parser);
  }

  Response finish(http::ResponseParser& parser) {
    if (!parser.done()) parser.finish();
    last_use_ = tls::Clock::now();
    // Bytes after the answer belong to nothing that was asked: the connection cannot be trusted any more.
    if (!parser.keep_alive() || surplus_ != 0) connection_.reset();
    return parser.take();
  }

  std::mutex mutex_;
  Url url_;
  TransportOptions options_;
  tls::Context context_;
  std::optional<tls::Connection> connection_;
  tls::Clock::time_point last_use_;
  std::array<char, kReadBytes> buffer_{};
  int cancel_ = -1;
  std::size_t surplus_ = 0;
  bool answer_started_ = false;
};

}  // namespace

std::optional<std::string_view> Response::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Response::announced_bytes() const {
  const auto text = header("content-length");
  std::uint64_t bytes = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), bytes).ec != std::errc()) return std::nullopt;
  return bytes;
}

std::unique_ptr<Transport> make_https_transport(std::string_view url, TransportOptions options) {
  return std::make_unique<HttpsTransport>(url, std::move(options));
}

}  // namespace appmesh

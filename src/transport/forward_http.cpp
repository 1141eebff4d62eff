#include "transport/forward_http.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "api/body.h"
#include "transport/caller_watch.h"
#include "transport/forward_message.h"
#include "transport/response_parser.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kOneRecordBytes = 16UL * 1024;
constexpr std::chrono::milliseconds kContinueTime{3'000};   // that an invitation to send is waited for
constexpr std::uint64_t kShortBytes = 256UL * 1024;         // an answer up to here is not worth a stream
constexpr std::uint64_t kWholeBytes = 100UL * 1024 * 1024;  // the longest that is held in memory

asio::awaitable<Result<void>> read_more(Outbound& connection, ResponseParser& parser) {
  const TlsStream::Outcome outcome = co_await connection.read_some(connection.thread().scratch());
  if (outcome.state != TlsStream::State::done) {
    // The server's last word, such as a missing client certificate, says more than that it hung up.
    const std::string problem = connection.problem();
    if (!problem.empty() && !parser.started()) co_return fail(ErrorKind::bad_gateway, "TLS: " + problem);
    co_return parser.finish();
  }
  co_return parser.feed({connection.thread().scratch().data(), outcome.bytes});
}

// The rest of an answer, read from the other daemon as fast as the caller takes it.
class ForwardedBody final : public api::BodySource {
 public:
  ForwardedBody(ForwardPool::Lease lease, ResponseParser parser)
      : lease_(std::in_place, std::move(lease)), parser_(std::move(parser)), size_(parser_.content_length()) {}

  [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return size_; }

  [[nodiscard]] asio::awaitable<Result<std::string_view>> next() override {
    piece_.clear();
    while (parser_.body().empty() && !parser_.done()) {
      auto read = co_await read_more(lease_->connection(), parser_);
      if (!read) co_return std::unexpected(std::move(read.error()));
    }
    std::swap(piece_, parser_.body());
    if (piece_.empty() && lease_) {
      if (parser_.keep_alive() && parser_.surplus_bytes() == 0) lease_->keep();
      lease_.reset();
    }
    co_return std::string_view(piece_);
  }

  void cancel() override {
    if (lease_) lease_->connection().close();
  }

 private:
  std::optional<ForwardPool::Lease> lease_;
  ResponseParser parser_;
  const std::optional<std::uint64_t> size_;
  std::string piece_;
};

asio::awaitable<Result<void>> read_head(Outbound& connection, ResponseParser& parser) {
  while (!parser.header_done()) {
    auto read = co_await read_more(connection, parser);
    if (!read) co_return read;
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> read_rest(Outbound& connection, ResponseParser& parser) {
  for (;;) {
    if (parser.body().size() > kWholeBytes || parser.content_length().value_or(0) > kWholeBytes)
      co_return fail(ErrorKind::bad_gateway, "the answer is longer than the " + std::to_string(kWholeBytes) +
                                                 " bytes that are passed on whole");
    if (parser.done()) co_return Result<void>();
    auto read = co_await read_more(connection, parser);
    if (!read) co_return read;
  }
}

// A body that is passed on while it arrives. False: the answer came first, or the connection failed. Error: the
// caller's.
asio::awaitable<Result<bool>> send_streamed(Outbound& connection, ResponseParser& parser, std::string_view head,
                                            api::BodyReader& body) {
  const bool asked = co_await connection.write(head);
  if (!asked) co_return false;
  while (!parser.continued() && !parser.header_done()) {
    const TlsStream::Outcome outcome = co_await connection.read_within(connection.thread().scratch(), kContinueTime);
    if (outcome.state == TlsStream::State::want_read) break;  // a server that knows nothing of it
    if (outcome.state != TlsStream::State::done) co_return false;
    auto fed = parser.feed({connection.thread().scratch().data(), outcome.bytes});
    if (!fed) co_return std::unexpected(std::move(fed.error()));
  }
  if (parser.header_done()) co_return false;

  const bool chunked = !body.size_bytes();
  for (;;) {
    const auto piece = co_await body.next();
    if (!piece) co_return std::unexpected(piece.error());
    if (piece->empty()) break;
    bool sent = true;
    if (chunked) sent = co_await connection.write(fmt::format("{:x}\r\n", piece->size()));
    if (sent) sent = co_await connection.write(*piece);
    if (sent && chunked) sent = co_await connection.write("\r\n");
    if (!sent) co_return false;
  }
  if (!chunked) co_return true;
  co_return co_await connection.write("0\r\n\r\n");
}

api::Response head_of(const ResponseParser& parser) {
  api::Response response;
  response.status = parser.status();
  response.relayed = true;
  for (const auto& [name, value] : parser.headers()) {
    if (equal_no_case(name, "content-type")) {
      response.content_type = value;
    } else if (is_answer_header(name)) {
      response.add_header(name, value);
    }
  }
  return response;
}

}  // namespace

asio::awaitable<Result<api::Response>> exchange_http(ForwardPool::Lease lease, const api::Request& request,
                                                     std::string head, bool& answered) {
  Outbound& connection = lease.connection();
  const CallerWatch watch(request, connection);
  ResponseParser parser;
  bool sent = false;
  if (request.body_reader) {
    const auto streamed = co_await send_streamed(connection, parser, head, *request.body_reader);
    if (!streamed) co_return std::unexpected(streamed.error());
    sent = *streamed;
  } else {
    const bool one_record = head.size() + request.body.size() <= kOneRecordBytes;
    if (one_record) head.append(request.body);
    sent = co_await connection.write(head);
    if (sent && !one_record) sent = co_await connection.write(request.body);
  }

  // A server that refuses a body may answer before it has read it, so an answer is looked for in any case.
  auto read = co_await read_head(connection, parser);
  answered = parser.started();
  if (!read) co_return std::unexpected(std::move(read.error()));

  api::Response response = head_of(parser);
  const auto length = parser.content_length();
  const bool may_stream = request.transport == api::TransportKind::https;
  if (may_stream && !parser.done() && (!length || *length > kShortBytes)) {
    response.stream = std::make_shared<ForwardedBody>(std::move(lease), std::move(parser));
    co_return response;
  }
  read = co_await read_rest(connection, parser);
  if (!read) co_return std::unexpected(std::move(read.error()));
  response.body = std::move(parser.body());
  if (sent && parser.keep_alive() && parser.surplus_bytes() == 0) lease.keep();
  co_return response;
}

}  // namespace appmesh::transport

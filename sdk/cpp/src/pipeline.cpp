#include "pipeline.h"

#include <charconv>
#include <utility>

#include <appmesh/error.h>
#include <appmesh/wire/message.h>

#include "message_text.h"

namespace appmesh::detail {
namespace {

constexpr std::size_t kKeptBytes = 1024 * 1024;

// Of a request, of which there were `count` so far.
std::uint64_t to_number(std::string_view uuid, std::uint64_t count) {
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(uuid.data(), uuid.data() + uuid.size(), number);
  if (problem != std::errc{} || end != uuid.data() + uuid.size() || number == 0 || number > count) {
    throw ClientError(ErrorKind::kProtocol, "the server answered what was not asked");
  }
  return number;
}

}  // namespace

Pipeline::Pipeline(const Url& url, SSL_CTX* context, const TransportOptions& options, int cancel)
    : connection_(url, context, options.tls.verify != TlsOptions::Verify::kOff,
                  tls::Clock::now() + options.connect_timeout, cancel),
      incoming_(options.max_body_bytes + options.max_header_bytes) {
  connection_.share();
}

std::uint64_t Pipeline::add(const Request& request) {
  const std::size_t before = outgoing_.size();
  try {
    append_message_head(outgoing_, std::to_string(count_ + 1), request);
  } catch (...) {
    outgoing_.resize(before);
    throw;
  }
  outgoing_ += request.body;
  return ++count_;
}

void Pipeline::flush(tls::Deadline deadline, int cancel) {
  if (broken_) throw ClientError(ErrorKind::kClosed, "half a message was sent");
  if (outgoing_.empty()) return;
  broken_ = true;
  connection_.write_shared(outgoing_, tls_, deadline, cancel);
  broken_ = false;
  outgoing_.clear();
  if (outgoing_.capacity() > kKeptBytes) outgoing_.shrink_to_fit();
}

Pipeline::Answer Pipeline::next(tls::Deadline deadline, int cancel) {
  while (!has_next()) {
    const std::size_t count = connection_.read_shared(incoming_.room(), tls_, deadline, cancel);
    if (count == 0) throw ClientError(ErrorKind::kClosed, "the server closed the connection");
    incoming_.filled(count);
  }
  wire::Response message;
  if (const auto problem = wire::parse_response(*incoming_.front(), message); !problem.empty()) {
    throw ClientError(ErrorKind::kProtocol, "the server's message is malformed: " + std::string(problem));
  }
  Answer answer{to_number(message.uuid, count_), to_response(message)};
  incoming_.pop();
  return answer;
}

bool Pipeline::has_next() {
  // A record of TLS holds a message or a few, and several of them may have come in one piece.
  while (!incoming_.front()) {
    const auto count = connection_.try_read(incoming_.room());
    if (count.value_or(0) == 0) return false;  // next() will find the end, too
    incoming_.filled(*count);
  }
  return true;
}

}  // namespace appmesh::detail

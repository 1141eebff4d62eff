#include "transport/forward_tcp.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <appmesh/wire/frame.h>
#include <appmesh/wire/message.h>

#include "api/multipart.h"
#include "transport/caller_watch.h"
#include "transport/forward_files.h"
#include "transport/forward_frames.h"
#include "transport/forward_message.h"

namespace appmesh::transport {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kOneRecordBytes = 16UL * 1024;
constexpr std::string_view kEventPath = "/appmesh/event";

bool is_subscription(const api::Request& request) {
  return request.method == api::Method::post && request.path.ends_with("/subscribe");
}

// docs/wire.md#https: percent-encoded over HTTP, plain here.
Result<std::vector<api::NameValue>> message_headers(const api::Request& request, unsigned hops) {
  auto headers = forward_headers(request, hops);
  if (request.transport != api::TransportKind::https) return headers;
  for (auto& [name, value] : headers) {
    if (!equal_no_case(name, "x-file-path")) continue;
    auto decoded = api::percent_decode(value);
    if (!decoded) return fail(ErrorKind::invalid_argument, "header 'X-File-Path': " + decoded.error().message);
    value = std::move(*decoded);
  }
  return headers;
}

std::string frame_head(const api::Request& request, const std::vector<api::NameValue>& headers,
                       std::size_t body_bytes) {
  // Over HTTP such a parameter is ignored too (docs/wire.md#register): the events would have no way back.
  std::vector<wire::TextPair> query;
  for (const auto& [name, value] : request.query) {
    if (name != "subscribe_events") query.emplace_back(name, value);
  }
  wire::Request shown;
  shown.uuid = request.id;
  shown.request_uri = request.path;
  shown.http_method = api::to_string(request.method);
  shown.client_addr = request.peer;
  std::string message;
  wire::append_request_head(message, shown, headers, query, static_cast<std::uint32_t>(body_bytes));
  std::string out;
  wire::append_frame_header(out, static_cast<std::uint32_t>(message.size() + body_bytes));
  return out.append(message);
}

asio::awaitable<bool> send(Outbound& connection, std::string head, std::string_view body) {
  if (head.size() + body.size() <= kOneRecordBytes) {
    head.append(body);
    co_return co_await connection.write(head);
  }
  const bool begun = co_await connection.write(head);
  if (!begun) co_return false;
  co_return co_await connection.write(body);
}

api::Response to_response(const wire::Response& message) {
  api::Response response;
  response.status = message.http_status;
  response.content_type = message.body_msg_type;
  response.body = message.body;
  response.relayed = true;
  for (const auto& [name, value] : message.headers) {
    if (equal_no_case(name, "content-type")) continue;
    if (is_answer_header(name)) response.add_header(std::string(name), std::string(value));
  }
  return response;
}

// What nobody here has asked for is left alone.
asio::awaitable<Result<api::Response>> read_answer(FrameReader& frames, std::string_view uuid) {
  for (;;) {
    const auto frame = co_await frames.next();
    if (!frame) co_return std::unexpected(frame.error());
    wire::Response message;
    const std::string_view problem = wire::parse_response(*frame, message);
    if (!problem.empty()) co_return fail(ErrorKind::bad_gateway, "malformed answer: " + std::string(problem));
    if (message.uuid != uuid && message.request_uri == kEventPath) continue;
    if (message.uuid != uuid || message.http_status < 200 || message.http_status > 599)
      co_return fail(ErrorKind::bad_gateway, "malformed answer: not to what was asked");
    co_return to_response(message);
  }
}

// What a caller over HTTP wants of a file, whose bytes go in frames here.
enum class FileWish : std::uint8_t { none, download, upload };

FileWish file_wish(const api::Request& request) {
  if (request.transport != api::TransportKind::https) return FileWish::none;
  if (request.method == api::Method::get && request.path == "/appmesh/file/download") return FileWish::download;
  if (request.method == api::Method::post && request.path == "/appmesh/file/upload") return FileWish::upload;
  return FileWish::none;
}

// The file in a body that may be a form.
class UploadBody {
 public:
  static Result<UploadBody> of(const api::Request& request) {
    UploadBody body;
    const std::string_view type = request.header("content-type").value_or("");
    if (!api::is_multipart(type)) return body;
    auto boundary = api::multipart_boundary(type);
    if (!boundary) return std::unexpected(std::move(boundary.error()));
    body.form_ = std::make_unique<api::MultipartParser>(*boundary);
    return body;
  }

  asio::awaitable<Result<void>> pass_on(const api::Request& request, api::BodySink& sink) {
    if (!request.body_reader) co_return co_await take(request.body, sink);
    for (;;) {
      const auto piece = co_await request.body_reader->next();
      if (!piece) co_return std::unexpected(piece.error());
      if (piece->empty()) break;
      auto taken = co_await take(*piece, sink);
      if (!taken) co_return taken;
    }
    if (form_) co_return form_->finish();
    co_return Result<void>();
  }

 private:
  asio::awaitable<Result<void>> take(std::string_view piece, api::BodySink& sink) {
    if (!form_) co_return co_await sink.write(piece);
    form_->feed(piece);
    for (;;) {
      const auto part = form_->next();
      if (!part) co_return std::unexpected(part.error());
      if (part->empty()) co_return Result<void>();
      auto written = co_await sink.write(*part);
      if (!written) co_return written;
    }
  }

  std::unique_ptr<api::MultipartParser> form_;
};

bool has_header(const api::Response& response, std::string_view name) {
  return std::ranges::any_of(response.headers, [&](const auto& field) { return equal_no_case(field.first, name); });
}

void drop_header(api::Response& response, std::string_view name) {
  std::erase_if(response.headers, [&](const auto& field) { return equal_no_case(field.first, name); });
}

// The answer to a download over HTTP.
api::Response as_download(api::Response response, std::shared_ptr<api::BodySource> file) {
  drop_header(response, kReceiveFileHeader);
  response.content_type = "application/octet-stream";
  response.add_header("Content-Disposition", "attachment");
  response.stream = std::move(file);
  return response;
}

}  // namespace

asio::awaitable<Result<api::Response>> exchange_tcp(ForwardPool::Lease lease, const api::Request& request,
                                                    unsigned hops, bool& answered) {
  if (is_subscription(request))
    co_return fail(ErrorKind::method_not_allowed, "Events are not forwarded: subscribe at the daemon itself");
  if (request.body.size() > wire::kMaxMessageBytes - wire::kMaxTextBytes)
    co_return fail(ErrorKind::too_large, "the body is longer than a message may be");
  auto headers = message_headers(request, hops);
  if (!headers) co_return std::unexpected(headers.error());
  const FileWish wish = file_wish(request);
  auto upload = wish == FileWish::upload ? UploadBody::of(request) : Result<UploadBody>();
  if (!upload) co_return std::unexpected(upload.error());
  if (wish == FileWish::download) headers->emplace_back(kReceiveFileHeader, "true");
  if (wish == FileWish::upload) headers->emplace_back(kSendFileHeader, "true");

  Outbound& connection = lease.connection();
  const CallerWatch watch(request, connection);
  const std::string_view body = wish == FileWish::upload ? std::string_view() : std::string_view(request.body);
  static_cast<void>(co_await send(connection, frame_head(request, *headers, body.size()), body));
  // Whatever could not be sent: the other side may have said why before it hung up.
  auto frames = std::make_unique<FrameReader>(connection);
  auto response = co_await read_answer(*frames, request.id);
  answered = frames->started();
  if (!response) co_return response;
  if (response->status == 200 && has_header(*response, kReceiveFileHeader)) {
    auto file = std::make_shared<FramesSource>(std::move(lease), std::move(frames));
    if (wish == FileWish::download) co_return as_download(std::move(*response), std::move(file));
    response->frames_out = std::move(file);
  } else if (response->status == 200 && has_header(*response, kSendFileHeader)) {
    auto sink = std::make_shared<FramesSink>(std::move(lease), std::move(frames));
    if (wish != FileWish::upload) {
      response->frames_in = std::move(sink);
      co_return response;
    }
    auto passed = co_await upload->pass_on(request, *sink);
    if (passed) passed = co_await sink->finish();
    if (!passed) co_return std::unexpected(std::move(passed.error()));
    co_return api::text_response("File upload success");
  } else if (!frames->has_rest()) {
    lease.keep();
  }
  co_return response;
}

}  // namespace appmesh::transport

#include "api/file_routes.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/this_coro.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/body.h"
#include "api/byte_range.h"
#include "api/file_transfer.h"
#include "api/multipart.h"
#include "api/on_worker.h"
#include "core/text.h"
#include "store/base64.h"

namespace appmesh::api {
namespace {

namespace asio = boost::asio;

constexpr const char* kTag = "Files";
constexpr std::string_view kOctetStream = "application/octet-stream";
constexpr std::string_view kPathHeader = "X-File-Path";
constexpr std::string_view kReceiveHeader = "X-Recv-File-Socket";
constexpr std::string_view kSendHeader = "X-Send-File-Socket";
constexpr const char* kDownloadPermission = "file-download";
constexpr const char* kUploadPermission = "file-upload";
constexpr std::uint64_t kMultipartOverhead = 128UL * 1024;  // what may stand around the file in its body

// docs/wire.md#https: clients of HTTPS send the path percent-encoded, those of the other transports send it as it is.
Result<std::string> requested_path(const Request& request) {
  const auto value = request.header(kPathHeader);
  if (!value || value->empty()) return fail(ErrorKind::invalid_argument, "header 'X-File-Path' not found");
  if (request.transport != TransportKind::https) return std::string(*value);
  auto decoded = percent_decode(*value);
  if (!decoded) return fail(ErrorKind::invalid_argument, "header 'X-File-Path': malformed percent-encoding");
  if (!core::is_utf8(*decoded)) return fail(ErrorKind::invalid_argument, "header 'X-File-Path': not valid UTF-8");
  return decoded;
}

bool has_bearer_scheme(const Request& request) {
  const std::string_view value = request.header("authorization").value_or("");
  return value.size() > 7 && (value[0] == 'B' || value[0] == 'b') && value.substr(1, 6) == "earer ";
}

FileAttributes attributes_of(const Request& request) {
  const auto text = [&](std::string_view name) { return std::string(request.header(name).value_or("")); };
  return {.mode = text("X-File-Mode"), .user = text("X-File-User"), .group = text("X-File-Group")};
}

void add_attributes(Response& response, const FileAttributes& attributes) {
  // Clients up to 2.1.6 take nothing but numbers here, later ones numbers too. Names are what holds on another host, so
  // clients of ours look at them first.
  response.add_header("X-File-Mode", attributes.mode)
      .add_header("X-File-User", attributes.user)
      .add_header("X-File-Group", attributes.group);
  if (!attributes.user_name.empty()) response.add_header("X-File-User-Name", core::plain_text(attributes.user_name));
  if (!attributes.group_name.empty()) response.add_header("X-File-Group-Name", core::plain_text(attributes.group_name));
}

// RFC 6266: a name that every client can read, and the true one for those that can read that.
std::string content_disposition(std::string_view name) {
  std::string plain;
  std::string encoded;
  bool is_plain = true;
  for (const char c : name) {
    const bool is_safe = c >= ' ' && c <= '~' && c != '"' && c != '\\' && c != '%';
    plain.push_back(is_safe ? c : '_');
    is_plain = is_plain && is_safe;
    const bool is_token =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
    if (is_token) {
      encoded.push_back(c);
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  std::string value = "attachment; filename=\"" + plain + '"';
  if (!is_plain) value += "; filename*=UTF-8''" + encoded;
  return value;
}

// Errors as the data routes of docs/wire.md#websocket give them.
Response text_error(const Error& error) {
  Response response = text_response(core::repair_utf8(error.message), http_status(error.kind));
  response.log_note = error.cause;
  return response;
}

class Files {
 public:
  explicit Files(FileRoutes wiring) : wiring_(wiring) {}

  asio::awaitable<Response> download(const Context& context) const {
    const Request& request = context.request;
    auto path = requested_path(request);
    if (!path) co_return error_response(path.error());
    const bool is_side_channel = request.header(kReceiveHeader).has_value();
    if (is_side_channel && request.transport == TransportKind::websocket) co_return not_over_websocket(kReceiveHeader);
    auto file = co_await open(*path, *context.principal);
    if (!file) co_return error_response(file.error());
    if (request.transport == TransportKind::https) co_return co_await send_over_http(request, std::move(*file), true);

    Response response = message_response("ok");
    add_attributes(response, file->attributes);
    if (!is_side_channel) {
      co_return grant(std::move(response), {.user = context.principal->user,
                                            .path = std::move(*path),
                                            .direction = FileDirection::download,
                                            .attributes = {},
                                            .right = request.right});
    }
    auto source = co_await source_of(std::move(*file), std::nullopt);
    if (!source) co_return error_response(source.error());
    response.add_header(std::string(kReceiveHeader), store::to_base64(*path));
    response.frames_out = std::move(*source);
    co_return response;
  }

  asio::awaitable<Response> upload(const Context& context) const {
    const Request& request = context.request;
    auto path = requested_path(request);
    if (!path) co_return error_response(path.error());
    if (request.transport == TransportKind::https) {
      const Result<void> received = co_await receive(request, *path, *context.principal, attributes_of(request));
      if (!received) co_return error_response(received.error());
      spdlog::info("file {} was uploaded by {}", core::plain_text(*path), context.principal->user);
      co_return text_response("File upload success");
    }
    if (!request.header(kSendHeader)) {
      const Result<void> checked = co_await on_files([this, &path, &user = *context.principal] {
        const auto os_user = os_user_of(user);
        return os_user ? wiring_.store.check_target(*path, *os_user) : Result<void>(std::unexpected(os_user.error()));
      });
      if (!checked) co_return error_response(checked.error());
      co_return grant(message_response("ok"), {.user = context.principal->user,
                                               .path = std::move(*path),
                                               .direction = FileDirection::upload,
                                               .attributes = attributes_of(request),
                                               .right = request.right});
    }
    if (request.transport == TransportKind::websocket) co_return not_over_websocket(kSendHeader);
    auto sink = co_await make_sink(*path, *context.principal, attributes_of(request), std::nullopt);
    if (!sink) co_return error_response(sink.error());
    Response response = message_response("ok");
    response.add_header(std::string(kSendHeader), store::to_base64(*path));
    response.frames_in = std::move(*sink);
    co_return response;
  }

  asio::awaitable<Response> download_with_token(const Context& context) const {
    const auto shown = redeem(context.request, FileDirection::download, kDownloadPermission);
    if (!shown) co_return text_error(shown.error());
    auto file = co_await open(shown->grant.path, *shown->principal);
    if (!file) co_return text_error(file.error());
    Response response = co_await send_over_http(context.request, std::move(*file), false);
    response.right = shown->grant.right;
    co_return response;
  }

  asio::awaitable<Response> upload_with_token(const Context& context) const {
    const auto shown = redeem(context.request, FileDirection::upload, kUploadPermission);
    if (!shown) co_return text_error(shown.error());
    if (context.request.body_reader) context.request.body_reader->guard(shown->grant.right);
    // Some clients send the attributes with the bytes, some with the question before.
    FileAttributes attributes = attributes_of(context.request);
    if (attributes.mode.empty() && attributes.user.empty() && attributes.group.empty()) {
      attributes = shown->grant.attributes;
    }
    const Result<void> received = co_await receive(context.request, shown->grant.path, *shown->principal, attributes);
    if (!received) co_return text_error(received.error());
    spdlog::info("file {} was uploaded by {}", core::plain_text(shown->grant.path), shown->grant.user);
    co_return text_response("File upload success");
  }

 private:
  template <typename Work>
  asio::awaitable<std::invoke_result_t<Work>> on_files(Work work) const {
    co_return co_await on_worker(wiring_.workers.executor(), std::move(work));
  }

  static Response not_over_websocket(std::string_view header) {
    return error_response({ErrorKind::invalid_argument,
                           fmt::format("header '{}': a WebSocket carries no file, ask without it for a token", header),
                           {}});
  }

  Result<std::string> os_user_of(const security::Principal& caller) const {
    auto user = wiring_.os_user ? wiring_.os_user(caller.as_owner) : Result<std::string>{};
    if (!user) return fail(ErrorKind::permission_denied, user.error().message);
    return user;
  }

  asio::awaitable<Result<OpenedFile>> open(const std::string& path, const security::Principal& caller) const {
    const auto os_user = os_user_of(caller);
    if (!os_user) co_return std::unexpected(os_user.error());
    co_return co_await on_files([this, &path, &os_user] { return wiring_.store.open(path, *os_user); });
  }

  asio::awaitable<Result<std::shared_ptr<BodySource>>> source_of(OpenedFile file,
                                                                 std::optional<ByteRange> range) const {
    auto place = wiring_.workers.take_place();
    if (!place) co_return std::unexpected(std::move(place.error()));
    const ByteRange part = range.value_or(ByteRange{.offset = 0, .length = file.size_bytes});
    co_return std::make_shared<FileSource>(std::move(file), part.offset, part.length,
                                           co_await asio::this_coro::executor, wiring_.workers.executor(),
                                           std::move(*place));
  }

  asio::awaitable<Response> send_over_http(const Request& request, OpenedFile file, bool json_errors) const {
    Response response;
    response.content_type = kOctetStream;
    response.add_header("Accept-Ranges", "bytes").add_header("Content-Disposition", content_disposition(file.name));
    add_attributes(response, file.attributes);
    // There is no validator to compare If-Range with, so the file counts as changed.
    const auto header = request.header("if-range") ? std::nullopt : request.header("range");
    const RangeAnswer answer = range_of(header, file.size_bytes);
    if (answer.kind == RangeKind::unsatisfiable) {
      Response refusal = json_errors ? message_response("Range: behind the end of the file", 416)
                                     : text_response("Range: behind the end of the file", 416);
      refusal.add_header("Content-Range", fmt::format("bytes */{}", file.size_bytes));
      co_return refusal;
    }
    if (answer.kind == RangeKind::part) {
      response.status = 206;
      response.add_header("Content-Range", fmt::format("bytes {}-{}/{}", answer.range.offset,
                                                       answer.range.offset + answer.range.length - 1, file.size_bytes));
    }
    auto source = co_await source_of(std::move(file), answer.range);
    if (!source) co_return json_errors ? error_response(source.error()) : text_error(source.error());
    response.stream = std::move(*source);
    co_return response;
  }

  asio::awaitable<Result<std::shared_ptr<BodySink>>> make_sink(const std::string& path,
                                                               const security::Principal& caller,
                                                               const FileAttributes& attributes,
                                                               std::optional<std::uint64_t> announced_bytes) const {
    const auto os_user = os_user_of(caller);
    if (!os_user) co_return std::unexpected(os_user.error());
    auto place = wiring_.workers.take_place();
    if (!place) co_return std::unexpected(std::move(place.error()));
    auto file = co_await on_files([&] { return wiring_.store.create(path, *os_user, attributes, announced_bytes); });
    if (!file) co_return std::unexpected(std::move(file.error()));
    co_return std::make_shared<FileSink>(std::move(*file), co_await asio::this_coro::executor,
                                         wiring_.workers.executor(), std::move(*place));
  }

  asio::awaitable<Result<void>> receive(const Request& request, const std::string& path,
                                        const security::Principal& caller, const FileAttributes& attributes) const {
    if (!request.body_reader) co_return fail(ErrorKind::internal, "", "the transport gave no body");
    BodyReader& reader = *request.body_reader;
    const std::string_view type = request.header("content-type").value_or("");
    std::optional<MultipartParser> multipart;
    if (is_multipart(type)) {
      const auto boundary = multipart_boundary(type);
      if (!boundary) co_return std::unexpected(boundary.error());
      multipart.emplace(*boundary);
    } else if (reader.size_bytes().value_or(0) > kMaxUploadBytes) {
      co_return fail(ErrorKind::too_large, fmt::format("the file is longer than {} bytes", kMaxUploadBytes));
    }
    auto sink = co_await make_sink(path, caller, attributes, reader.size_bytes());
    if (!sink) co_return std::unexpected(std::move(sink.error()));

    for (;;) {
      const Result<std::string_view> piece = co_await reader.next();
      if (!piece) co_return std::unexpected(piece.error());
      if (piece->empty()) break;
      Result<void> written;
      if (multipart) {
        written = co_await write_parts(*multipart, *piece, **sink);
      } else {
        written = co_await (*sink)->write(*piece);
      }
      if (!written) co_return written;
    }
    if (multipart) {
      const Result<void> complete = multipart->finish();
      if (!complete) co_return complete;
    }
    co_return co_await (*sink)->finish();
  }

  static asio::awaitable<Result<void>> write_parts(MultipartParser& parser, std::string_view piece, BodySink& sink) {
    parser.feed(piece);
    for (;;) {
      const Result<std::string_view> data = parser.next();
      if (!data) co_return std::unexpected(data.error());
      if (data->empty()) co_return Result<void>();
      const Result<void> written = co_await sink.write(*data);
      if (!written) co_return written;
    }
  }

  Response grant(Response response, FileGrant grant) const {
    auto token = wiring_.tokens.issue(std::move(grant));
    if (!token) return error_response(token.error());
    response.add_header("Authorization", std::move(*token));
    return response;
  }

  Result<FileTokens::Shown> redeem(const Request& request, FileDirection direction, const char* permission) const {
    const auto token = request.token();
    if (!token) return fail(ErrorKind::unauthenticated, "Authentication failed");
    auto shown = wiring_.tokens.redeem(*token, request.header(kPathHeader), direction);
    if (!shown && shown.error().kind == ErrorKind::unauthenticated && has_bearer_scheme(request))
      shown = wiring_.tokens.accept_session(*token, requested_path(request), direction, permission);
    if (shown && !shown->principal->may(permission)) {
      return fail(
          ErrorKind::permission_denied,
          fmt::format("Permission denied: user '{}' lacks required permission '{}'", shown->grant.user, permission));
    }
    return shown;
  }

  const FileRoutes wiring_;
};

std::vector<Parameter> path_and_attributes(bool with_attributes) {
  using enum Parameter::In;
  std::vector<Parameter> parameters = {{.in = header,
                                        .name = "X-File-Path",
                                        .description = "absolute, or relative to work/tmp; percent-encoded over HTTPS",
                                        .required = true}};
  if (!with_attributes) {
    parameters.push_back({.in = header, .name = "Range", .description = "one range of bytes"});
    return parameters;
  }
  parameters.push_back({.in = header, .name = "X-File-Mode", .description = "permission bits as a decimal, 0 to 511"});
  parameters.push_back({.in = header, .name = "X-File-User", .description = "owner: a name, or an id"});
  parameters.push_back({.in = header, .name = "X-File-Group", .description = "group: a name, or an id"});
  return parameters;
}

std::vector<Answer> download_answers() {
  return {{200, "the file", std::string(kOctetStream)}, {206, "the range of it", std::string(kOctetStream)},
          {400, "no path, or not a regular file"},      {404, "no such file"},
          {416, "the range lies behind the end"},       {503, "too many transfers at once"}};
}

std::vector<Answer> upload_answers() {
  return {{200, "it is there", std::string(kTextType)},
          {400, "no path, a symbolic link, or a malformed body"},
          {404, "no such directory"},
          {409, "something has that name"},
          {413, "longer than 2 GiB"},
          {503, "too many transfers at once"},
          {507, "no space left; nothing of the file stays"}};
}

}  // namespace

void add_file_routes(RouteTable& table, FileRoutes wiring) {
  const auto files = std::make_shared<const Files>(wiring);
  const std::string octets(kOctetStream);
  constexpr std::uint64_t kMaxBody = kMaxUploadBytes + kMultipartOverhead;

  table.add({.method = Method::get,
             .pattern = "/appmesh/file/download",
             .requirement = Requirement::permission(kDownloadPermission),
             .handler = [files](Context& context) { return files->download(context); },
             .summary = "A file of the host; over a WebSocket a token for GET /appmesh/file/download/ws",
             .tag = kTag,
             .parameters = path_and_attributes(false),
             .answers = download_answers(),
             .lasts = true});
  table.add({.method = Method::post,
             .pattern = "/appmesh/file/upload",
             .requirement = Requirement::permission(kUploadPermission),
             .handler = [files](Context& context) { return files->upload(context); },
             .summary = "A new file on the host, as raw body or as part `file` of multipart/form-data",
             .tag = kTag,
             .parameters = path_and_attributes(true),
             .request_type = octets,
             .answers = upload_answers(),
             .streamed_body_bytes = kMaxBody,
             .lasts = true});
  table.add({.method = Method::get,
             .pattern = "/appmesh/file/download/ws",
             .requirement = Requirement::free(),  // checks a one-time token, or a session's, itself
             .handler = [files](Context& context) { return files->download_with_token(context); },
             .summary = "A file of the host, with a one-time token that came over a WebSocket",
             .tag = kTag,
             .parameters = path_and_attributes(false),
             .answers = download_answers(),
             .lasts = true});
  table.add({.method = Method::post,
             .pattern = "/appmesh/file/upload/ws",
             .requirement = Requirement::free(),
             .handler = [files](Context& context) { return files->upload_with_token(context); },
             .summary = "A new file on the host, with a one-time token that came over a WebSocket",
             .tag = kTag,
             .parameters = path_and_attributes(true),
             .request_type = octets,
             .answers = upload_answers(),
             .streamed_body_bytes = kMaxBody,
             .lasts = true});
}

}  // namespace appmesh::api

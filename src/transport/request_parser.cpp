#include "transport/request_parser.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include "core/text.h"

namespace appmesh::transport {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::uint64_t kMaxReserveBytes = 1024UL * 1024;  // what a mere Content-Length may make us allocate

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

constexpr std::size_t kShortestChunkedEnd = 5;

}  // namespace

struct RequestParser::Impl final : http::basic_parser<true> {
  using Base = http::basic_parser<true>;

  Impl(const ParserLimits& given, BodyRuleOf rule_of)
      : limits(given), body_rule_of(std::move(rule_of)), rule{.max_bytes = given.body_bytes} {
    eager(true);
    header_limit(limits.header_bytes);
    body_limit(boost::none);  // the route decides, see on_header_impl()
  }

  void refuse(beast::error_code& error, int status, std::string message) {
    refusal = BadRequest{status, std::move(message)};
    error = http::error::bad_value;
  }

  void on_request_impl(http::verb, beast::string_view method, beast::string_view target, int http_version,
                       beast::error_code& error) override {
    version = http_version;
    request.method = api::parse_method(view(method));
    auto parsed = api::parse_target(view(target), limits.plus_is_space);
    if (!parsed) return refuse(error, 400, std::move(parsed.error().message));
    request.path = std::move(parsed->path);
    request.query = std::move(parsed->query);
  }
  void on_response_impl(int, beast::string_view, int, beast::error_code&) override {}

  void on_field_impl(http::field field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    // RFC 9112 section 5.2: a server refuses a value that goes on in the next line, because others read it otherwise.
    // Beast joins the lines in memory of its own, or leaves out an empty first one.
    const auto* const gap = name.data() + name.size();
    const bool in_place =
        !std::less<>{}(value.data(), gap) && !std::less<>{}(input.data() + input.size(), value.data());
    if (!value.empty() && (!in_place || std::find(gap, value.data(), '\n') != value.data()))
      return refuse(error, 400, "header '" + core::printable(view(name)) + "': a value on more than one line");
    if (is_header_done()) return;  // trailers have no use here
    if (request.headers.size() == limits.header_count) {
      return refuse(error, 431, "more than " + std::to_string(limits.header_count) + " headers");
    }
    if (field == http::field::host) {
      // RFC 9112 section 3.2: two of them are an attack on whoever reads the other one.
      if (has_host) return refuse(error, 400, "more than one Host header");
      has_host = true;
    } else if (field == http::field::transfer_encoding) {
      // RFC 9112 section 6.1: whoever sent it cannot be trusted with the length of the body.
      if (version < 11) return refuse(error, 400, "Transfer-Encoding does not exist in HTTP/1.0");
      if (!beast::iequals(value, "chunked"))
        return refuse(error, 400, "only the transfer encoding 'chunked' is understood");
    } else if (field == http::field::expect) {
      expect_continue = beast::iequals(value, "100-continue");
    }
    request.headers.emplace_back(view(name), view(value));
  }

  void on_header_impl(beast::error_code& error) override {
    if (version >= 11 && !has_host) return refuse(error, 400, "the Host header is missing");
    if (body_rule_of) rule = body_rule_of(request);
    if (const auto announced = content_length(); announced && *announced > rule.max_bytes) refuse_body(error);
  }

  void refuse_body(beast::error_code& error) {
    refuse(error, 413, "the body is longer than " + std::to_string(rule.max_bytes) + " bytes");
  }

  std::size_t add_to_body(beast::string_view body, beast::error_code& error) {
    if (body.size() > rule.max_bytes - received_body_bytes) {
      refuse_body(error);
      return 0;
    }
    received_body_bytes += body.size();
    request.body.append(body.data(), body.size());
    return body.size();
  }

  void on_body_init_impl(const boost::optional<std::uint64_t>& length, beast::error_code&) override {
    if (length) request.body.reserve(static_cast<std::size_t>(std::min(*length, kMaxReserveBytes)));
  }
  std::size_t on_body_impl(beast::string_view body, beast::error_code& error) override {
    return add_to_body(body, error);
  }
  void on_chunk_header_impl(std::uint64_t size, beast::string_view, beast::error_code& error) override {
    if (size > rule.max_bytes - received_body_bytes) refuse_body(error);
  }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, beast::error_code& error) override {
    return add_to_body(body, error);
  }
  void on_finish_impl(beast::error_code&) override {}

  [[nodiscard]] BadRequest describe(const beast::error_code& error) {
    if (refusal) return std::move(*refusal);
    if (error == http::error::header_limit) {
      return {431, "the header is longer than " + std::to_string(limits.header_bytes) + " bytes"};
    }
    return {400, "malformed HTTP request: " + error.message()};
  }

  const ParserLimits limits;
  const BodyRuleOf body_rule_of;
  BodyRule rule;
  std::uint64_t received_body_bytes = 0;
  api::Request request;
  std::optional<BadRequest> refusal;
  std::string_view input;  // what is being parsed
  int version = 11;
  bool has_host = false;
  bool expect_continue = false;
};

RequestParser::RequestParser(const ParserLimits& limits, BodyRuleOf body_rule_of)
    : impl_(std::make_unique<Impl>(limits, std::move(body_rule_of))) {}
RequestParser::~RequestParser() = default;

std::expected<std::size_t, BadRequest> RequestParser::feed(std::string_view input) {
  std::size_t used = 0;
  while (used < input.size() && !impl_->is_done()) {
    // No chunked body ends with less than "0\r\n\r\n" to come, and Beast 1.81 asserts that when it looks again.
    if (impl_->is_header_done() && impl_->chunked() && input.size() - used < kShortestChunkedEnd) break;
    beast::error_code error;
    impl_->input = input;
    used += impl_->put(boost::asio::const_buffer(input.data() + used, input.size() - used), error);
    if (error == http::error::need_more) break;
    if (error) return std::unexpected(impl_->describe(error));
  }
  return used;
}

bool RequestParser::header_done() const {
  return impl_->is_header_done();
}
bool RequestParser::done() const {
  return impl_->is_done();
}
std::size_t RequestParser::body_bytes() const {
  return impl_->request.body.size();
}
bool RequestParser::keep_alive() const {
  return impl_->keep_alive();
}
bool RequestParser::is_http_1_0() const {
  return impl_->version < 11;
}
bool RequestParser::expects_continue() const {
  return impl_->expect_continue && impl_->version >= 11;
}
bool RequestParser::is_streamed() const {
  return impl_->rule.streamed;
}
std::optional<std::uint64_t> RequestParser::announced_body_bytes() const {
  const auto length = impl_->content_length();
  return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
}
api::Request RequestParser::take() {
  api::Request request = std::move(impl_->request);
  impl_->request = {};
  if (impl_->rule.streamed) impl_->request.body = std::exchange(request.body, {});
  return request;
}
void RequestParser::take_body(std::string& into) {
  into.clear();
  std::swap(into, impl_->request.body);
}

}  // namespace appmesh::transport

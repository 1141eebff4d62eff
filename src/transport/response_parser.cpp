#include "transport/response_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace appmesh::transport {
namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr std::uint32_t kHeaderBytes = 64 * 1024;
constexpr std::size_t kHeaderCount = 256;

std::string_view view(beast::string_view text) {
  return {text.data(), text.size()};
}

class Parser final : public http::basic_parser<false> {
 public:
  Parser() {
    eager(true);
    header_limit(kHeaderBytes);
    body_limit(boost::none);  // whoever takes the body decides how much of it there may be
  }
  std::vector<api::NameValue> headers;
  std::string body;
  int status = 0;

 private:
  void on_request_impl(http::verb, beast::string_view, beast::string_view, int, beast::error_code&) override {}
  void on_response_impl(int code, beast::string_view, int, beast::error_code&) override { status = code; }
  void on_field_impl(http::field, beast::string_view name, beast::string_view value,
                     beast::error_code& error) override {
    if (is_header_done()) return;
    if (headers.size() == kHeaderCount) {
      error = http::error::header_limit;
      return;
    }
    headers.emplace_back(view(name), view(value));
  }
  void on_header_impl(beast::error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code&) override {}
  std::size_t on_body_impl(beast::string_view piece, beast::error_code&) override {
    body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view piece, beast::error_code&) override {
    body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_finish_impl(beast::error_code&) override {}
};

}  // namespace

struct ResponseParser::Impl {
  std::optional<Parser> parser{std::in_place};
  std::string rest;  // part of a header or of a chunk's frame
  std::size_t surplus = 0;
  bool started = false;
  bool continued = false;
};

ResponseParser::ResponseParser() : impl_(std::make_unique<Impl>()) {}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

Result<void> ResponseParser::feed(std::string_view input) {
  if (!input.empty()) impl_->started = true;
  if (!impl_->rest.empty()) {
    impl_->rest.append(input);
    input = impl_->rest;
  }
  std::size_t used = 0;
  while (used < input.size() && !impl_->parser->is_done()) {
    beast::error_code error;
    used += impl_->parser->put(boost::asio::const_buffer(input.data() + used, input.size() - used), error);
    if (error == http::error::need_more) break;
    if (error) return fail(ErrorKind::bad_gateway, "malformed answer: " + error.message());
    // RFC 9110 section 15.2: any number of interim answers comes before the one that counts.
    if (impl_->parser->is_done() && impl_->parser->status / 100 == 1) {
      if (impl_->parser->status == 101) return fail(ErrorKind::bad_gateway, "malformed answer: another protocol");
      impl_->continued = impl_->continued || impl_->parser->status == 100;
      impl_->parser.emplace();
    }
  }
  if (impl_->parser->is_done()) {
    impl_->surplus += input.size() - used;
    used = input.size();
  }
  std::string left(input.substr(used));
  impl_->rest = std::move(left);
  if (impl_->rest.size() > 2UL * kHeaderBytes) return fail(ErrorKind::bad_gateway, "malformed answer: a line too long");
  return {};
}

Result<void> ResponseParser::finish() {
  if (impl_->parser->is_done()) return {};
  beast::error_code error;
  if (impl_->parser->is_header_done()) {
    impl_->parser->put_eof(error);
    if (!error) return {};
  }
  return fail(ErrorKind::bad_gateway,
              impl_->started ? "the connection ended amid the answer" : "the connection was closed without an answer");
}

bool ResponseParser::continued() const {
  return impl_->continued;
}
bool ResponseParser::started() const {
  return impl_->started;
}
bool ResponseParser::header_done() const {
  return impl_->parser->is_header_done() && impl_->parser->status / 100 != 1;
}
bool ResponseParser::done() const {
  return impl_->parser->is_done();
}
std::size_t ResponseParser::surplus_bytes() const {
  return impl_->surplus;
}
int ResponseParser::status() const {
  return impl_->parser->status;
}
const std::vector<api::NameValue>& ResponseParser::headers() const {
  return impl_->parser->headers;
}
std::optional<std::uint64_t> ResponseParser::content_length() const {
  const auto length = impl_->parser->content_length();
  return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
}
bool ResponseParser::keep_alive() const {
  return impl_->parser->keep_alive();
}
std::string& ResponseParser::body() {
  return impl_->parser->body;
}

}  // namespace appmesh::transport

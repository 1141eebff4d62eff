#include "transport/response_writer.h"

#include <array>
#include <ctime>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <time.h>

#include "api/body.h"

namespace appmesh::transport {
namespace {

std::string_view reason_of(int status) {
  constexpr std::array<std::pair<int, std::string_view>, 32> kReasons = {{
      {200, "OK"},
      {204, "No Content"},
      {206, "Partial Content"},
      {208, "Already Reported"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {407, "Proxy Authentication Required"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {507, "Insufficient Storage"},
      {508, "Loop Detected"},
  }};
  for (const auto& [code, reason] : kReasons) {
    if (code == status) return reason;
  }
  return "Status";
}

// RFC 9110 section 5.6.7, written anew once a second at most.
std::string_view date_now() {
  thread_local std::time_t second = 0;
  thread_local std::array<char, 40> text{};
  thread_local std::size_t length = 0;
  const std::time_t now = std::time(nullptr);
  if (now != second) {
    constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    const auto result = fmt::format_to_n(text.data(), text.size(), "{}, {:02} {} {} {:02}:{:02}:{:02} GMT",
                                         kDays[static_cast<std::size_t>(utc.tm_wday)], utc.tm_mday,
                                         kMonths[static_cast<std::size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour,
                                         utc.tm_min, utc.tm_sec);
    length = result.size;
    second = now;
  }
  return {text.data(), length};
}

void append_safe(std::string& out, std::string_view value) {
  for (const char c : value) out.push_back(static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? ' ' : c);
}

void append_number(std::string& out, std::uint64_t value) {
  out.append(fmt::format_int(value).c_str());
}

void append_framing(std::string& out, const api::Response& response, const ResponseStyle& style) {
  const std::optional<std::uint64_t> length =
      response.stream ? response.stream->size_bytes() : std::optional<std::uint64_t>(response.body_view().size());
  if (length) {
    out.append("Content-Length: ");
    append_number(out, *length);
    out.append("\r\n");
  } else if (!style.http_1_0) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
}

}  // namespace

void append_head(std::string& out, const api::Response& response, const ResponseStyle& style) {
  out.append("HTTP/1.1 ");
  append_number(out, static_cast<std::size_t>(response.status));
  out.append(" ").append(reason_of(response.status)).append("\r\nDate: ").append(date_now()).append("\r\n");
  if (!response.content_type.empty()) {
    out.append("Content-Type: ");
    append_safe(out, response.content_type);
    out.append("\r\n");
  }
  // RFC 9110 section 8.6: no length beside 204.
  if (response.status != 204) append_framing(out, response, style);
  bool has_cache_control = false;
  for (const auto& [name, value] : response.headers) {
    has_cache_control = has_cache_control || name == "Cache-Control";
    append_safe(out, name);
    out.append(": ");
    append_safe(out, value);
    out.append("\r\n");
  }
  // Whatever needs a token to be asked for, shows a secret or gives a task away must not lie in a cache; that is nearly
  // everything, and for the rest it does no harm.
  if (!has_cache_control) out.append("Cache-Control: no-store\r\n");
  out.append("X-Content-Type-Options: nosniff\r\n");
  if (style.strict_transport_security) out.append("Strict-Transport-Security: max-age=31536000\r\n");
  if (!style.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (style.http_1_0) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
}

}  // namespace appmesh::transport

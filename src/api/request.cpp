#include "api/request.h"

#include <algorithm>
#include <array>

#include "core/text.h"

namespace appmesh::api {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool equal_no_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 9112 section 3.2.2: a client may send the whole URI, and a server must take it.
std::string_view without_authority(std::string_view target) {
  const std::size_t scheme = target.find("://");
  if (target.starts_with('/') || scheme == std::string_view::npos || scheme > 5) return target;
  const std::size_t path = target.find_first_of("/?", scheme + 3);
  return path == std::string_view::npos ? std::string_view("/") : target.substr(path);
}

std::string collapse_slashes(std::string_view path) {
  std::string out;
  out.reserve(path.size());
  for (const char c : path) {
    if (c != '/' || out.empty() || out.back() != '/') out.push_back(c);
  }
  return out;
}

// HTTP clients write a space as '+' in a query (the published ones for Python and JavaScript do), and a plus as %2B.
Result<std::string> query_decode(std::string_view text, bool plus_is_space) {
  if (!plus_is_space) return percent_decode(text);
  std::string spaced(text);
  std::ranges::replace(spaced, '+', ' ');
  return percent_decode(spaced);
}

Result<std::vector<NameValue>> parse_query(std::string_view text, bool plus_is_space) {
  std::vector<NameValue> query;
  while (!text.empty()) {
    const std::size_t end = text.find('&');
    const std::string_view item = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (item.empty()) continue;
    if (query.size() == kMaxQueryParameters) {
      return fail(ErrorKind::invalid_argument,
                  "more than " + std::to_string(kMaxQueryParameters) + " query parameters");
    }
    const std::size_t equals = item.find('=');
    auto name = query_decode(item.substr(0, equals), plus_is_space);
    if (!name) return std::unexpected(std::move(name.error()));
    auto value =
        query_decode(equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1), plus_is_space);
    if (!value) return std::unexpected(std::move(value.error()));
    query.emplace_back(std::move(*name), std::move(*value));
  }
  return query;
}

}  // namespace

Method parse_method(std::string_view text) {
  if (text == "GET") return Method::get;
  if (text == "PUT") return Method::put;
  if (text == "POST") return Method::post;
  if (text == "DELETE") return Method::del;
  if (text == "HEAD") return Method::head;
  if (text == "OPTIONS") return Method::options;
  return Method::other;
}

std::string_view to_string(Method method) {
  constexpr std::array<std::string_view, 7> kNames = {"GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "OTHER"};
  constexpr std::array<Method, 7> kMethods = {Method::get,  Method::put,     Method::post, Method::del,
                                              Method::head, Method::options, Method::other};
  for (std::size_t i = 0; i < kMethods.size(); ++i) {
    if (kMethods[i] == method) return kNames[i];
  }
  return "OTHER";
}

std::optional<std::string_view> Request::query_value(std::string_view name) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equal_no_case(key, name)) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> Request::cookie(std::string_view name) const {
  if (transport != TransportKind::https) return std::nullopt;
  for (const auto& [key, value] : headers) {
    if (!equal_no_case(key, "cookie")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t end = rest.find(';');
      const std::string_view item = trim(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      const std::size_t equals = item.find('=');
      if (equals != std::string_view::npos && item.substr(0, equals) == name) return item.substr(equals + 1);
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> Request::token() const {
  if (const auto authorization = header("authorization")) {
    std::string_view value = trim(*authorization);
    constexpr std::string_view kBearer = "bearer ";
    if (value.size() > kBearer.size() && equal_no_case(value.substr(0, kBearer.size()), kBearer)) {
      value = trim(value.substr(kBearer.size()));
    } else if (value.find(' ') != std::string_view::npos || equal_no_case(value, "bearer")) {
      return std::nullopt;
    }
    if (value.empty()) return std::nullopt;
    return value;
  }
  const auto value = cookie(kAuthCookie);
  return value && !value->empty() ? value : std::nullopt;
}

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      return fail(ErrorKind::invalid_argument,
                  "malformed percent-encoding at position " + std::to_string(i) + " of a path segment or query item");
    }
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

Result<Target> parse_target(std::string_view target, bool plus_is_space) {
  target = without_authority(target);
  for (const char c : target) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') {
      return fail(ErrorKind::invalid_argument, "control character in the request target");
    }
  }
  if (!core::is_utf8(target)) return fail(ErrorKind::invalid_argument, "the request target is not valid UTF-8");
  if (const std::size_t fragment = target.find('#'); fragment != std::string_view::npos) {
    target = target.substr(0, fragment);
  }
  const std::size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  if (!path.starts_with('/') && target != "*" && !target.starts_with('?')) {
    return fail(ErrorKind::invalid_argument, "the request target does not start with '/'");
  }
  auto query =
      parse_query(question == std::string_view::npos ? std::string_view() : target.substr(question + 1), plus_is_space);
  if (!query) return std::unexpected(std::move(query.error()));
  return Target{path.empty() ? std::string("/") : collapse_slashes(path), std::move(*query)};
}

}  // namespace appmesh::api

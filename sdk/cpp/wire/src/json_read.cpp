#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>

#include "appmesh/wire/json_text.h"

namespace appmesh::wire {

namespace json = boost::json;

namespace {

// Two spellings of one number give one text: the digits without zeros at either end, and the power of ten of the last.
std::string canonical_number(std::string_view text) {
  std::string digits;
  std::int64_t exponent = 0;
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  bool behind_point = false;
  std::size_t at = 0;
  for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
    if (text[at] == '.') {
      behind_point = true;
      continue;
    }
    digits += text[at];
    if (behind_point) --exponent;
  }
  if (at < text.size()) {
    std::string_view power = text.substr(at + 1);
    if (power.starts_with('+')) power.remove_prefix(1);
    std::int64_t given = 0;
    // The reader bounds exponents long before they fill an int64.
    std::from_chars(power.data(), power.data() + power.size(), given);
    exponent += given;
  }
  while (!digits.empty() && digits.back() == '0') {
    digits.pop_back();
    ++exponent;
  }
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return "0";
  return (negative ? "-" : "") + digits + 'e' + std::to_string(exponent);
}

double exact_double(std::string_view text, double rough) {
  double exact = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), exact);
  if (error == std::errc{}) return exact;
  constexpr double kLargest = std::numeric_limits<double>::max();
  return std::isfinite(rough) && std::abs(rough) < 1 ? 0.0 : std::copysign(kLargest, text.starts_with('-') ? -1 : 1);
}

enum class Numbers : std::uint8_t { as_values, as_canonical_text };

// What basic_parser calls; as Boost's own, but for numbers.
template <Numbers numbers>
struct Handler {
  static constexpr std::size_t max_object_size = std::numeric_limits<std::size_t>::max();
  static constexpr std::size_t max_array_size = max_object_size;
  static constexpr std::size_t max_key_size = max_object_size;
  static constexpr std::size_t max_string_size = max_object_size;
  using Error = boost::system::error_code;
  using Text = json::string_view;

  json::value_stack values;
  std::string number;  // the front of one that came in pieces

  Handler() { values.reset(); }

  bool on_document_begin(Error& /*error*/) { return true; }
  bool on_document_end(Error& /*error*/) { return true; }
  bool on_object_begin(Error& /*error*/) { return true; }
  bool on_object_end(std::size_t count, Error& /*error*/) { return values.push_object(count), true; }
  bool on_array_begin(Error& /*error*/) { return true; }
  bool on_array_end(std::size_t count, Error& /*error*/) { return values.push_array(count), true; }
  bool on_key_part(Text part, std::size_t /*size*/, Error& /*error*/) { return values.push_chars(part), true; }
  bool on_key(Text part, std::size_t /*size*/, Error& /*error*/) { return values.push_key(part), true; }
  bool on_string_part(Text part, std::size_t /*size*/, Error& /*error*/) { return values.push_chars(part), true; }
  bool on_string(Text part, std::size_t /*size*/, Error& /*error*/) {
    if constexpr (numbers == Numbers::as_canonical_text) {
      // So that the text "1e0" is no number.
      values.push_chars("\"");
    }
    return values.push_string(part), true;
  }
  bool on_number_part(Text part, Error& /*error*/) {
    number.append(part.data(), part.size());
    return true;
  }
  bool on_int64(std::int64_t value, Text part, Error& /*error*/) {
    if (!push_text(part)) values.push_int64(value);
    number.clear();
    return true;
  }
  bool on_uint64(std::uint64_t value, Text part, Error& /*error*/) {
    if (!push_text(part)) values.push_uint64(value);
    number.clear();
    return true;
  }
  bool on_double(double value, Text part, Error& /*error*/) {
    if (!push_text(part)) {
      number.append(part.data(), part.size());
      values.push_double(exact_double(number, value));
    }
    number.clear();
    return true;
  }
  bool on_bool(bool value, Error& /*error*/) { return values.push_bool(value), true; }
  bool on_null(Error& /*error*/) { return values.push_null(), true; }
  bool on_comment_part(Text /*part*/, Error& /*error*/) { return true; }
  bool on_comment(Text /*part*/, Error& /*error*/) { return true; }

 private:
  bool push_text(Text part) {
    if constexpr (numbers == Numbers::as_values) return false;
    number.append(part.data(), part.size());
    values.push_string(canonical_number(number));
    return true;
  }
};

template <Numbers numbers>
json::value read(std::string_view text, boost::system::error_code& error, std::size_t* position,
                 std::size_t max_depth) {
  json::parse_options options;
  options.max_depth = max_depth;
  json::basic_parser<Handler<numbers>> parser(options);
  // One call with everything; it takes the blanks after the value too.
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!error && used < text.size()) error = json::error::extra_data;
  if (position != nullptr) *position = used;
  return error ? json::value{} : parser.handler().values.release();
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Goes through text that is known to be JSON.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }
  bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::string_view value() {
    skip_blanks();
    const std::size_t start = at_;
    std::size_t depth = 0;
    do {
      if (at_ >= text_.size()) break;
      const char c = text_[at_];
      if (c == '"') {
        skip_string();
        continue;
      }
      if (c == '{' || c == '[') {
        ++depth;
      } else if (c == '}' || c == ']') {
        --depth;
      } else if (depth == 0) {
        at_ = std::min(text_.find_first_of(",}] \t\r\n", at_), text_.size());
        continue;
      }
      ++at_;
    } while (depth > 0);
    return text_.substr(start, at_ - start);
  }

 private:
  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool names(std::string_view quoted, std::string_view name) {
  if (quoted.size() < 2) return false;
  if (quoted.find('\\') == std::string_view::npos) return quoted.substr(1, quoted.size() - 2) == name;
  boost::system::error_code error;
  const json::value key = read_json(quoted, error);
  return !error && key.is_string() && key.get_string() == name;
}

}  // namespace

json::value read_json(std::string_view text, boost::system::error_code& error, std::size_t* position,
                      std::size_t max_depth) {
  return read<Numbers::as_values>(text, error, position, max_depth);
}

std::optional<std::string_view> member_text(std::string_view object, std::string_view name) {
  Scanner scanner(object);
  std::optional<std::string_view> found;
  if (!scanner.take('{') || scanner.take('}')) return found;
  do {
    const std::string_view key = scanner.value();
    if (!scanner.take(':')) return found;
    const std::string_view value = scanner.value();
    if (names(key, name)) found = value;
  } while (scanner.take(','));
  return found;
}

namespace {

json::value with_sorted_members(const json::value& value) {
  if (const auto* array = value.if_array()) {
    json::array sorted;
    for (const auto& item : *array) sorted.push_back(with_sorted_members(item));
    return sorted;
  }
  const auto* object = value.if_object();
  if (object == nullptr) return value;
  std::map<std::string_view, const json::value*> members;
  for (const auto& member : *object) members.emplace(member.key(), &member.value());
  json::object sorted;
  for (const auto& [name, member] : members) sorted[name] = with_sorted_members(*member);
  return sorted;
}

}  // namespace

bool same_json(std::string_view a, std::string_view b) {
  if (a == b) return true;
  boost::system::error_code error;
  const json::value left = read<Numbers::as_canonical_text>(a, error, nullptr, kMaxJsonDepth);
  if (error) return false;
  const json::value right = read<Numbers::as_canonical_text>(b, error, nullptr, kMaxJsonDepth);
  return !error && left == right;
}

std::string canonical_json(std::string_view text) {
  boost::system::error_code error;
  const json::value value = read<Numbers::as_canonical_text>(text, error, nullptr, kMaxJsonDepth);
  return error ? std::string(text) : write_json(with_sorted_members(value));
}

bool is_json_number(std::string_view text) {
  const auto digits = [&text] {
    const std::size_t count = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(count);
    return count > 0;
  };
  if (text.starts_with('-')) text.remove_prefix(1);
  if (text.starts_with('0')) {
    text.remove_prefix(1);
  } else if (!digits()) {
    return false;
  }
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!digits()) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('+') || text.starts_with('-')) text.remove_prefix(1);
    if (!digits()) return false;
  }
  return text.empty();
}

}  // namespace appmesh::wire

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>

#include <boost/json/array.hpp>

#include "appmesh/wire/json_text.h"
#include "appmesh/wire/utf8.h"

namespace appmesh::wire {

namespace json = boost::json;

namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighBits = 0x8080808080808080;
constexpr std::size_t kFirstBytes = 1024;
constexpr std::size_t kNumberBytes = 32;  // more than any number takes

// The high bit of each byte that is zero; perhaps of one above it too, which costs a slower look and no more.
std::uint64_t zero_bytes(std::uint64_t eight) {
  return (eight - kOnes) & ~eight & kHighBits;
}

// Whether one of the bytes does not stand in JSON as it is: a control character, a quote, a backslash, or not ASCII.
bool needs_care(std::uint64_t eight) {
  const std::uint64_t below_blank = (eight - kOnes * 0x20) & ~eight;
  return ((eight | below_blank | zero_bytes(eight ^ (kOnes * '"')) | zero_bytes(eight ^ (kOnes * '\\'))) & kHighBits) !=
         0;
}

constexpr auto kNeedsCare = [] {
  std::array<bool, 256> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte)
    table[byte] = byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\';
  return table;
}();

// Writes at the end of a string with one check of the room for each piece: this is what most answers are made by.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out), start_(out.size()), used_(out.size()) {}
  ~Writer() { out_.resize(used_); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void value(const json::value& value) {
    switch (value.kind()) {
      case json::kind::null:
        return word("null");
      case json::kind::bool_:
        return word(value.get_bool() ? "true" : "false");
      case json::kind::int64:
        return number(value.get_int64());
      case json::kind::uint64:
        return number(value.get_uint64());
      case json::kind::double_:
        return real(value.get_double());
      case json::kind::string:
        return string(value.get_string());
      case json::kind::object:
        return object(value.get_object());
      case json::kind::array: {
        const json::array& items = value.get_array();
        put('[');
        for (std::size_t i = 0; i < items.size(); ++i) {
          if (i > 0) put(',');
          this->value(items[i]);
        }
        put(']');
      }
    }
  }

  void object(const json::object& members) {
    put('{');
    bool first = true;
    for (const auto& [key, value] : members) {
      if (!first) put(',');
      first = false;
      string(key);
      put(':');
      this->value(value);
    }
    put('}');
  }

  void string(std::string_view text) {
    room(text.size() + 2 + sizeof(std::uint64_t));
    char* at = out_.data() + used_;
    *at++ = '"';
    const char* from = text.data();
    const char* const end = from + text.size();
    for (; end - from >= 8; from += 8, at += 8) {
      std::uint64_t eight = 0;
      std::memcpy(&eight, from, 8);
      if (needs_care(eight)) break;
      std::memcpy(at, &eight, 8);
    }
    for (; from < end && !kNeedsCare[static_cast<unsigned char>(*from)]; ++from) *at++ = *from;
    used_ = static_cast<std::size_t>(at - out_.data());
    if (from < end) {
      const std::string_view rest(from, static_cast<std::size_t>(end - from));
      if (is_utf8(rest)) {
        escaped(rest);
      } else {
        escaped(repair_utf8(rest));
      }
    }
    put('"');
  }

 private:
  void room(std::size_t bytes) {
    // By as much again as was written here, not as there is: a long text may get many short additions.
    if (out_.size() - used_ < bytes) out_.resize(used_ + std::max({bytes, used_ - start_, kFirstBytes}));
  }
  void put(char c) {
    room(1);
    out_[used_++] = c;
  }
  void word(std::string_view text) {
    room(text.size());
    std::memcpy(out_.data() + used_, text.data(), text.size());
    used_ += text.size();
  }
  template <typename Number>
  void number(Number number) {
    room(kNumberBytes);
    char* const at = out_.data() + used_;
    used_ += static_cast<std::size_t>(std::to_chars(at, at + kNumberBytes, number).ptr - at);
  }
  void real(double real) {
    if (!std::isfinite(real)) return word("null");  // as JavaScript writes them; JSON has no such number
    const std::size_t start = used_;
    number(real);
    const std::string_view written(out_.data() + start, used_ - start);
    if (written.find_first_of(".e") == std::string_view::npos) word(".0");
  }

  // `text` is UTF-8.
  void escaped(std::string_view text) {
    std::size_t begin = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
      word(text.substr(begin, i - begin));
      begin = i + 1;
      escape(text[i]);
    }
    word(text.substr(begin));
  }

  void escape(char c) {
    switch (c) {
      case '"':
        return word("\\\"");
      case '\\':
        return word("\\\\");
      case '\b':
        return word("\\b");
      case '\f':
        return word("\\f");
      case '\n':
        return word("\\n");
      case '\r':
        return word("\\r");
      case '\t':
        return word("\\t");
      default:
        constexpr std::string_view kDigits = "0123456789abcdef";
        word("\\u00");
        put(kDigits[static_cast<unsigned char>(c) >> 4U]);
        put(kDigits[static_cast<unsigned char>(c) & 0xFU]);
    }
  }

  std::string& out_;
  const std::size_t start_;
  std::size_t used_;  // out_ is longer while this writes
};

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  Writer(out).string(text);
}

void append_json_object(std::string& out, const json::object& object) {
  Writer(out).object(object);
}

void append_json(std::string& out, const json::value& value) {
  Writer(out).value(value);
}

std::string write_json(const json::value& value) {
  std::string out;
  append_json(out, value);
  return out;
}

void append_member(std::string& object, std::string_view name, std::string_view value) {
  object.pop_back();
  if (object.back() != '{') object += ',';
  append_json_string(object, name);
  object += ':';
  object.append(value);
  object += '}';
}

}  // namespace appmesh::wire

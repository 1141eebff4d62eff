#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include <appmesh/wire/json_text.h>
#include <boost/json/array.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "core/text.h"
#include "store/yaml.h"
#include "store/yaml_scalar.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

// Leaves yaml-cpp's parser, which knows no other way out of its callbacks; caught in parse_yaml().
struct Refusal {
  YAML::Mark mark;
  std::string reason;
};

std::string at_line(const YAML::Mark& mark, std::string_view reason) {
  std::string text;
  if (!mark.is_null()) text = "line " + std::to_string(mark.line + 1) + ": ";
  return text.append(reason);
}

// Builds the value from the parser's events, so no node graph is made and an alias cannot multiply anything.
class Builder : public YAML::EventHandler {
 public:
  Builder(const WantsString& wants_string, const WantsJsonText& wants_json_text, KeyLines* lines)
      : wants_string_(wants_string), wants_json_text_(wants_json_text), lines_(lines) {}

  json::value& root() { return root_; }

  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check_anchor(mark, anchor);
    if (expects_key()) throw Refusal{mark, "a key is missing"};
    if (!frames_.empty() && path_.size() > 1 && wants_string_(place())) {
      throw Refusal{mark, "\"" + where() + "\" has no value: quote it (\"\" for an empty text)"};
    }
    put(mark, nullptr);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    throw Refusal{mark, "aliases are not allowed"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check_anchor(mark, anchor);
    const bool plain = tag == "?";
    const bool text = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!plain && !text && !tag.empty()) throw Refusal{mark, "the tag " + core::printable(tag) + " is not allowed"};
    if (expects_key()) {
      if (frames_.back().value.as_object().contains(value)) {
        throw Refusal{mark, "the key \"" + core::printable(value) + "\" is there twice"};
      }
      path_.back() = value;
      frames_.back().has_key = true;
      if (lines_ != nullptr && std::ranges::none_of(path_, &std::string::empty))
        lines_->emplace(fmt::format("{}", fmt::join(path_, ".")), static_cast<std::size_t>(mark.line) + 1);
      return;
    }
    if (text || wants_string_(place())) {
      put(mark, json::string(value));
    } else if (plain && within_json_text() && wire::is_json_number(value)) {
      put_spelled(mark, value);
    } else {
      put(mark, resolve_plain_scalar(value));
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, json::array{});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(mark, tag, anchor, json::object{});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    json::value value;
    bool has_key = false;
    std::string text = {};  // the same as JSON, below a place that is wanted so
  };

  [[nodiscard]] bool expects_key() const {
    return !frames_.empty() && frames_.back().value.is_object() && !frames_.back().has_key;
  }
  [[nodiscard]] YamlPath place() const { return path_; }
  [[nodiscard]] std::string where() const {
    std::string text;
    for (const auto& key : path_) {
      if (!text.empty()) text += '.';
      text += core::printable(key);
    }
    return text;
  }
  static void check_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != 0) throw Refusal{mark, "anchors are not allowed"};
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, json::value empty) {
    check_anchor(mark, anchor);
    if (tag != "?" && tag != "!" && !tag.empty()) {
      throw Refusal{mark, "the tag " + core::printable(tag) + " is not allowed"};
    }
    if (expects_key()) throw Refusal{mark, "a key must be a text"};
    if (frames_.size() == kMaxYamlDepth) {
      throw Refusal{mark, "nested deeper than " + std::to_string(kMaxYamlDepth) + " levels"};
    }
    if (json_text_depth_ == 0 && within_json_text()) json_text_depth_ = frames_.size();
    frames_.push_back({std::move(empty)});
    path_.emplace_back();
  }
  void close() {
    Frame closed = std::move(frames_.back());
    frames_.pop_back();
    path_.pop_back();
    if (json_text_depth_ == 0) return put(YAML::Mark::null_mark(), std::move(closed.value));
    const char* const brackets = closed.value.is_array() ? "[]" : "{}";
    std::string text = brackets[0] + closed.text + brackets[1];
    if (json_text_depth_ == frames_.size()) {
      json_text_depth_ = 0;
      return put_value(YAML::Mark::null_mark(), json::string(text));
    }
    put_text(YAML::Mark::null_mark(), std::move(closed.value), text);
  }
  // Whether the place to come is, or is below, one that is wanted as JSON text.
  [[nodiscard]] bool within_json_text() const {
    return json_text_depth_ > 0 || (wants_json_text_ && !frames_.empty() && wants_json_text_(place()));
  }
  void put(const YAML::Mark& mark, json::value value) {
    if (!within_json_text()) return put_value(mark, std::move(value));
    const std::string text = wire::write_json(value);
    put_text(mark, std::move(value), text);
  }
  void put_spelled(const YAML::Mark& mark, const std::string& number) { put_text(mark, nullptr, number); }
  void put_text(const YAML::Mark& mark, json::value value, std::string_view text) {
    if (json_text_depth_ == 0) return put_value(mark, json::string(text));
    Frame& frame = frames_.back();
    if (!frame.text.empty()) frame.text += ',';
    if (frame.value.is_object()) {
      wire::append_json_string(frame.text, path_.back());
      frame.text += ':';
    }
    frame.text.append(text);
    put_value(mark, std::move(value));
  }
  void put_value(const YAML::Mark& mark, json::value value) {
    if (frames_.empty()) {
      if (!value.is_object()) throw Refusal{mark, "the file must be a mapping of fields to values"};
      root_ = std::move(value);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.value.is_array()) {
      frame.value.as_array().push_back(std::move(value));
    } else {
      frame.value.as_object()[path_.back()] = std::move(value);
      frame.has_key = false;
    }
  }

  const WantsString& wants_string_;
  const WantsJsonText& wants_json_text_;
  KeyLines* lines_;
  std::size_t json_text_depth_ = 0;  // frames above the value that is being written as text; 0: none is
  json::value root_;
  std::vector<Frame> frames_;
  std::vector<std::string> path_;  // one key for each frame
};

}  // namespace

json::value resolve_plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;

  std::string_view number = text;
  const bool negative = number.front() == '-';
  if (negative || number.front() == '+') number.remove_prefix(1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (number.empty() || (!is_digit(number.front()) && number.front() != '.')) return json::string(text);
  if (std::ranges::all_of(number, is_digit)) {
    if (number.size() > 1 && number.front() == '0') return json::string(text);
    const char* const first = negative ? text.data() : number.data();
    std::int64_t integer = 0;
    if (std::from_chars(first, text.data() + text.size(), integer).ec == std::errc{}) return integer;
    std::uint64_t large = 0;
    if (!negative && std::from_chars(first, text.data() + text.size(), large).ec == std::errc{}) return large;
    return json::string(text);
  }
  double real = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), real);
  if (error != std::errc{} || end != number.data() + number.size() || !std::isfinite(real)) return json::string(text);
  return negative ? -real : real;
}

Result<json::object> parse_yaml(std::string_view text, const WantsString& wants_string,
                                const WantsJsonText& wants_json_text, KeyLines* lines) {
  if (text.size() > kMaxYamlBytes) {
    return fail(ErrorKind::too_large, "larger than " + std::to_string(kMaxYamlBytes) + " bytes");
  }
  for (std::size_t line = 1, from = 0; from < text.size(); ++line) {
    const auto end = std::min(text.find('\n', from), text.size());
    const auto part = text.substr(from, end - from);
    const char* problem = !core::is_utf8(part)                        ? "not UTF-8 text"
                          : part.find('\0') != std::string_view::npos ? "holds a NUL byte"
                                                                      : nullptr;
    if (problem != nullptr) return fail(ErrorKind::invalid_argument, fmt::format("line {}: {}", line, problem));
    from = end + 1;
  }
  try {
    std::istringstream stream{std::string{text}};
    YAML::Parser parser{stream};
    Builder builder{wants_string, wants_json_text, lines};
    if (!parser.HandleNextDocument(builder) || !builder.root().is_object()) {
      return fail(ErrorKind::invalid_argument, "the file must be a mapping of fields to values");
    }
    json::object object = std::move(builder.root().as_object());
    Builder second{wants_string, wants_json_text, nullptr};
    if (parser.HandleNextDocument(second)) return fail(ErrorKind::invalid_argument, "more than one document");
    return object;
  } catch (const Refusal& refusal) {
    return fail(ErrorKind::invalid_argument, at_line(refusal.mark, refusal.reason));
  } catch (const YAML::Exception& error) {
    return fail(ErrorKind::invalid_argument, at_line(error.mark, error.msg));
  }
}

}  // namespace appmesh::store

#include <algorithm>

#include <appmesh/wire/json_text.h>
#include <boost/json/array.hpp>

#include "store/yaml.h"
#include "store/yaml_scalar.h"

namespace appmesh::store {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestPlain = 200;
constexpr std::size_t kLongestSimpleKey =
    1000;  // YAML 1.2.2 section 7.4.2: a key without "?" has at most 1024 characters

bool is_plain_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view{"_-./@+%=,;()~^$"}.find(c) != std::string_view::npos;
}

// A narrow idea of what may stand unquoted: nothing that a reader could take for a number, a comment or a structure.
bool may_be_plain(std::string_view text) {
  if (text.empty() || text.size() > kLongestPlain || text.back() == ' ') return false;
  const char first = text.front();
  // Texts that start with a digit are quoted: 1e5, 0x10 and 12:30 are numbers to some readers.
  const bool starts_well =
      (first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z') || first == '/' || first == '_';
  if (!starts_well) return false;
  if (!std::ranges::all_of(text, [](char c) { return c == ' ' || is_plain_character(c); })) return false;
  // Words that YAML 1.1 readers take for booleans are quoted for their sake.
  for (const std::string_view word :
       {"yes", "no", "on", "off", "y", "n", "Yes", "No", "On", "Off", "YES", "NO", "ON", "OFF", "Y", "N"}) {
    if (text == word) return false;
  }
  return resolve_plain_scalar(text).is_string();
}

// Scripts of several lines are kept readable.
bool may_be_literal(std::string_view text) {
  if (text.find('\n') == std::string_view::npos || text.front() == '\n' || text.front() == ' ') return false;
  if (text.ends_with("\n\n")) return false;
  std::size_t line_start = 0;
  while (line_start < text.size()) {
    const std::size_t end = std::min(text.find('\n', line_start), text.size());
    const std::string_view line = text.substr(line_start, end - line_start);
    if (!line.empty() && (line.back() == ' ' || line.find_first_not_of(' ') == std::string_view::npos)) return false;
    if (line.starts_with("---") || line.starts_with("...") || line.starts_with("\t")) return false;
    line_start = end + 1;
  }
  return std::ranges::all_of(text, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

// Every JSON string is a YAML double-quoted scalar (YAML 1.2.2 section 1.3).
std::string quoted(std::string_view text) {
  return wire::write_json(json::string(text));
}

// So that JSON in a text stays readable.
bool may_be_single_quoted(std::string_view text) {
  return text.find_first_of("\"\\") != std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

std::string single_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out.append(c == '\'' ? 2 : 1, c);
  return out + '\'';
}

std::string scalar_text(std::string_view text) {
  if (may_be_plain(text)) return std::string{text};
  return may_be_single_quoted(text) ? single_quoted(text) : quoted(text);
}

class Writer {
 public:
  void members(const json::object& object, std::size_t indent) {
    for (const auto& [key, value] : object) {
      out_.append(indent, ' ');
      const std::string written = scalar_text(key);
      if (written.size() > kLongestSimpleKey) {
        out_.append("? ").append(written).append("\n").append(indent, ' ').append(":");
      } else {
        out_.append(written).append(":");
      }
      after_key(value, indent);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  void elements(const json::array& array, std::size_t indent) {
    for (const auto& value : array) {
      out_.append(indent, ' ').append("-");
      after_key(value, indent);
    }
  }
  // What follows "key:" or "-", with its line break.
  void after_key(const json::value& value, std::size_t indent) {
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
      out_ += '\n';
      members(*object, indent + 2);
    } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
      out_ += '\n';
      elements(*array, indent + 2);
    } else if (const auto* text = value.if_string()) {
      string(*text, indent);
    } else {
      // null, true, numbers, {} and [] are written as in JSON; 1.0 is a float to our reader too.
      out_.append(" ").append(wire::write_json(value)).append("\n");
    }
  }
  void string(std::string_view text, std::size_t indent) {
    if (!may_be_literal(text)) {
      out_.append(" ").append(scalar_text(text)).append("\n");
      return;
    }
    out_.append(text.back() == '\n' ? " |\n" : " |-\n");
    std::size_t start = 0;
    while (start < text.size()) {
      const std::size_t end = std::min(text.find('\n', start), text.size());
      if (end > start) out_.append(indent + 2, ' ').append(text.substr(start, end - start));
      out_ += '\n';
      start = end + 1;
    }
  }

  std::string out_;
};

}  // namespace

std::string write_yaml(const json::object& object) {
  if (object.empty()) return "{}\n";
  Writer writer;
  writer.members(object, 0);
  return writer.take();
}

}  // namespace appmesh::store

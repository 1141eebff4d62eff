// Reads the members of one JSON object by name, with the checks that a kind of field has in common, and remembers the
// first thing that is wrong. For app_definition_parse.cpp alone; a value on the stack of one call.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "core/app_definition.h"
#include "core/error.h"

namespace appmesh::core {

// A word of the contract and what it means.
template <typename Enum>
struct Word {
  std::string_view text;
  Enum value;
};

[[nodiscard]] std::string lower_case(std::string_view text);  // of ASCII letters

// After the first error every further read does nothing, so that the caller is a plain list of fields. `prefix` is
// "resource_limit." and the like inside an object.
class FieldReader {
 public:
  FieldReader(const boost::json::object& object, std::string prefix, std::optional<Error>& error)
      : object_(object), prefix_(std::move(prefix)), error_(error) {}

  void text(std::string_view name, std::string& out, std::size_t longest);

  void boolean(std::string_view name, bool& out);

  template <typename Int>
  void integer(std::string_view name, Int& out, std::int64_t low, std::int64_t high) {
    const boost::json::value* value = take(name);
    if (value == nullptr) return;
    const auto number = checked_integer(name, *value, low, high);
    if (number) out = static_cast<Int>(*number);
  }

  // Seconds as an integer, or text. Empty text is the zero value of a client's struct and means absent.
  void duration(std::string_view name, std::optional<DurationText>& out, std::int64_t least);

  void cron(std::string_view name, std::optional<DurationText>& out);

  // A field that clients of another generation call `alias`. Both may be there when they say the same.
  template <typename Value, typename Read>
  void either(std::string_view name, std::string_view alias, Value& out, Read read) {
    const bool is_named = take(name) != nullptr;
    const bool has_alias = take(alias) != nullptr;
    read(is_named || !has_alias ? name : alias, out);
    if (!is_named || !has_alias) return;
    Value other{};
    read(alias, other);
    if (!(other == out)) refuse(alias, fmt::format("says something else than '{}'", name));
  }

  // A word of a list, in any case; "" leaves the default.
  template <typename Words, typename Enum>
  void word(std::string_view name, const Words& words, Enum& out) {
    const boost::json::value* value = take(name);
    if (value == nullptr) return;
    if (const auto found = checked_word<Words, Enum>(name, *value, words)) out = *found;
  }

  template <typename Words, typename Enum>
  std::optional<Enum> checked_word(std::string_view name, const boost::json::value& value, const Words& words) {
    const auto* string = value.if_string();
    if (string == nullptr) return refuse(name, "must be a string"), std::nullopt;
    if (string->empty()) return std::nullopt;
    const std::string wanted = lower_case(*string);
    std::string choices;
    for (const auto& word : words) {
      if (word.text == wanted) return word.value;
      choices += (choices.empty() ? "" : ", ") + std::string(word.text);
    }
    refuse(name, "must be one of " + choices);
    return std::nullopt;
  }

  // Environment variables. Absent stays absent.
  std::optional<std::map<std::string, std::string>> variables(std::string_view name);

  const boost::json::object* object(std::string_view name);

  // nullptr when the field is absent, null, or something is wrong already.
  const boost::json::value* take(std::string_view name);

  std::optional<std::int64_t> checked_integer(std::string_view name, const boost::json::value& value, std::int64_t low,
                                              std::int64_t high);

  void refuse(std::string_view name, std::string_view reason);
  bool failed() const { return error_.has_value(); }

  // Names what nobody asked for. The names end in a response header, so they are made harmless and bounded.
  void collect_unknown(std::vector<UnknownField>& unknown) const;

 private:
  std::optional<std::string> number_or_text(std::string_view name);

  const boost::json::object& object_;
  std::string prefix_;
  std::optional<Error>& error_;
  std::set<std::string_view> taken_;
};

}  // namespace appmesh::core

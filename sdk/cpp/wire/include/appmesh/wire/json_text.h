// JSON values as text and back, exactly: both ends write and read them by these functions and no others, because
// Boost.JSON 1.81 writes 0.0 as 0E0, passes bytes that are not UTF-8, and reads some doubles one bit off.
// Also questions about JSON text that must stay as it was sent. Pure functions, any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/error_code.hpp>

namespace appmesh::wire {

inline constexpr std::size_t kMaxJsonDepth = 32;

// The text is UTF-8 whatever the strings hold: what is not becomes U+FFFD. A double is written with the fewest digits
// that read back as itself, and with ".0" when it is whole, so that it stays a double.
[[nodiscard]] std::string write_json(const boost::json::value& value);
void append_json(std::string& out, const boost::json::value& value);
void append_json_object(std::string& out, const boost::json::object& object);
void append_json_string(std::string& out, std::string_view text);  // with its quotes

// Adds a member whose value is JSON text already: `object` is the text of an object as written above.
void append_member(std::string& object, std::string_view name, std::string_view value);

// A double is the one nearest to the digits; one beyond all doubles is the largest. `error` is set for text that is not
// JSON, not UTF-8 or nested deeper than `max_depth`, and `position` is then the byte where that shows.
[[nodiscard]] boost::json::value read_json(std::string_view text, boost::system::error_code& error,
                                           std::size_t* position = nullptr, std::size_t max_depth = kMaxJsonDepth);

// The value of a member of a JSON object, as it stands in the text; the last one when the name is there twice, as it
// counts for read_json(). The text must have been read without an error.
[[nodiscard]] std::optional<std::string_view> member_text(std::string_view object, std::string_view name);

// Whether two texts say the same: blanks, the order of members and the spelling of numbers (1.10 and 11e-1) do not
// count; every digit does. False when one is not JSON.
[[nodiscard]] bool same_json(std::string_view a, std::string_view b);

// One text for all that say the same, for a fingerprint: it is not the JSON itself, numbers stand as strings in it.
// What is not JSON comes back as it is.
[[nodiscard]] std::string canonical_json(std::string_view text);

[[nodiscard]] bool is_json_number(std::string_view text);  // RFC 8259 section 6

}  // namespace appmesh::wire

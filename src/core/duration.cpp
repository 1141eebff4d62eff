#include "core/duration.h"

#include <cstdint>
#include <optional>
#include <span>

namespace appmesh::core {

namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;
constexpr std::int64_t kWeek = 7 * kDay;
constexpr std::int64_t kYear = 365 * kDay;
// Far more than anybody waits, and still safe to add to an instant in microseconds.
constexpr std::int64_t kLongest = 1000 * kYear;

Result<std::chrono::seconds> bad(std::string_view reason) {
  return fail(ErrorKind::invalid_argument, std::string(reason));
}
Result<std::chrono::seconds> too_long() {
  return bad("longer than 1000 years");
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Takes the digits at the front of `text`; more than 18 of them cannot be a sensible number and end as too long.
std::optional<std::int64_t> take_number(std::string_view& text, bool& overflow) {
  std::int64_t value = 0;
  std::size_t used = 0;
  for (; used < text.size() && is_digit(text[used]); ++used) {
    if (value > kLongest)
      overflow = true;
    else
      value = value * 10 + (text[used] - '0');
  }
  text.remove_prefix(used);
  if (used == 0) return std::nullopt;
  return value;
}

struct Unit {
  char letter;
  std::int64_t seconds;  // 0: refused
};
constexpr Unit kDateUnits[] = {{'Y', kYear}, {'M', 0}, {'W', kWeek}, {'D', kDay}};
constexpr Unit kTimeUnits[] = {{'H', kHour}, {'M', kMinute}, {'S', 1}};

Result<std::chrono::seconds> parse_iso(std::string_view text) {
  constexpr std::string_view kForm = "not an ISO 8601 duration such as PT5M, P1D or P2W";
  text.remove_prefix(1);  // P
  std::span<const Unit> units = kDateUnits;
  std::int64_t total = 0;
  bool in_time = false;
  bool overflow = false;
  bool weeks = false;
  int parts = 0;
  while (!text.empty()) {
    if (text.front() == 'T') {
      if (in_time || text.size() == 1) return bad(kForm);
      in_time = true;
      units = kTimeUnits;
      text.remove_prefix(1);
      continue;
    }
    const auto number = take_number(text, overflow);
    if (!number || text.empty()) return bad(kForm);
    // Only the units after the last one are left, so order and repetition check themselves.
    std::size_t at = 0;
    while (at < units.size() && units[at].letter != text.front()) ++at;
    if (at == units.size()) return bad(text.front() == '.' ? "fractions are not supported" : kForm);
    if (units[at].seconds == 0) return bad("months have no fixed length and are not supported");
    if (*number > kLongest / units[at].seconds) overflow = true;
    if (!overflow) total += *number * units[at].seconds;
    if (total > kLongest) overflow = true;
    weeks = weeks || (!in_time && units[at].letter == 'W');
    units = units.subspan(at + 1);
    text.remove_prefix(1);
    ++parts;
  }
  if (parts == 0 || (weeks && parts > 1)) return bad(kForm);
  if (overflow) return too_long();
  return std::chrono::seconds(total);
}

}  // namespace

Result<std::chrono::seconds> parse_duration(std::string_view text) {
  if (text.empty()) return bad("empty duration");
  if (text.front() == '-') return bad("negative duration");
  if (text.front() == 'P') return parse_iso(text);
  bool overflow = false;
  const auto number = take_number(text, overflow);
  if (!number || !text.empty()) return bad("neither whole seconds nor an ISO 8601 duration");
  if (overflow || *number > kLongest) return too_long();
  return std::chrono::seconds(*number);
}

}  // namespace appmesh::core

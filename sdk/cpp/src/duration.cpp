#include <charconv>
#include <cstdint>

#include <appmesh/duration.h>

namespace appmesh {
namespace {

constexpr std::int64_t kMax = 100ll * 365 * 86'400;

std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value > kMax) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

}  // namespace

std::optional<std::chrono::seconds> parse_duration(std::string_view text) {
  if (!text.starts_with('P')) {
    const auto value = take_number(text);
    if (!value || !text.empty()) return std::nullopt;
    return std::chrono::seconds{*value};
  }
  text.remove_prefix(1);
  struct Unit {
    char letter;
    std::int64_t seconds;
  };
  constexpr Unit kDate[] = {{'Y', 365 * 86'400}, {'W', 7 * 86'400}, {'D', 86'400}};
  constexpr Unit kTime[] = {{'H', 3600}, {'M', 60}, {'S', 1}};
  std::int64_t total = 0;
  bool in_time = false;
  bool any = false;
  std::size_t next = 0;  // units must come in their order, each once
  while (!text.empty()) {
    if (text.front() == 'T' && !in_time) {
      in_time = true;
      next = 0;
      text.remove_prefix(1);
      if (text.empty()) return std::nullopt;
      continue;
    }
    const auto value = take_number(text);
    if (!value || text.empty()) return std::nullopt;
    const auto& units = in_time ? kTime : kDate;
    while (next < 3 && units[next].letter != text.front()) ++next;
    if (next == 3 || *value > kMax / units[next].seconds) return std::nullopt;
    total += *value * units[next].seconds;
    if (total > kMax) return std::nullopt;
    ++next;
    any = true;
    text.remove_prefix(1);
  }
  if (!any) return std::nullopt;
  return std::chrono::seconds{total};
}

}  // namespace appmesh

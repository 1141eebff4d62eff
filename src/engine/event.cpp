#include "engine/event.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "core/text.h"

namespace appmesh::engine {

namespace {

constexpr std::array<std::string_view, kEventKinds> kNames = {"START", "EXIT", "STDOUT", "HEALTH", "STATUS", "REMOVED"};

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string_view to_string(EventKind kind) {
  return kNames[static_cast<std::size_t>(kind)];
}

Result<EventMask> EventMask::parse(std::string_view list) {
  if (trimmed(list).empty()) return all();
  std::uint32_t bits = 0;
  for (std::string_view rest = list;;) {
    const auto comma = rest.find(',');
    const std::string_view name = trimmed(rest.substr(0, comma));
    if (name == "ALL") return all();
    const auto found = std::ranges::find(kNames, name);
    if (found != kNames.end()) bits |= 1U << (found - kNames.begin());
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (bits == 0)
    return fail(ErrorKind::invalid_argument,
                fmt::format("events: <{}> names none of START, EXIT, STDOUT, HEALTH, STATUS, REMOVED, ALL",
                            core::printable(list)));
  return EventMask(bits);
}

std::vector<std::string_view> EventMask::names() const {
  std::vector<std::string_view> names;
  for (std::size_t kind = 0; kind < kEventKinds; ++kind)
    if (has(static_cast<EventKind>(kind))) names.push_back(kNames[kind]);
  return names;
}

}  // namespace appmesh::engine

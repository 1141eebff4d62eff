#include "api/byte_range.h"

#include <algorithm>
#include <charconv>

namespace appmesh::api {
namespace {

// Digits only; a number that is too large for us is larger than every file.
std::optional<std::uint64_t> number_of(std::string_view text) {
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  std::uint64_t value = 0;
  const auto error = std::from_chars(text.data(), text.data() + text.size(), value).ec;
  return error == std::errc() ? value : UINT64_MAX;
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

RangeAnswer range_of(std::optional<std::string_view> header, std::uint64_t size_bytes) {
  const RangeAnswer whole{.kind = RangeKind::whole, .range = {.offset = 0, .length = size_bytes}};
  constexpr std::string_view kUnit = "bytes=";
  if (!header || !header->starts_with(kUnit)) return whole;
  const std::string_view spec = trim(header->substr(kUnit.size()));
  const std::size_t dash = spec.find('-');
  if (dash == std::string_view::npos || spec.find(',') != std::string_view::npos) return whole;
  const std::string_view first_text = trim(spec.substr(0, dash));
  const std::string_view last_text = trim(spec.substr(dash + 1));
  const auto first = number_of(first_text);
  const auto last = number_of(last_text);
  if ((!first && !first_text.empty()) || (!last && !last_text.empty()) || (!first && !last)) return whole;

  std::uint64_t begin = 0;
  std::uint64_t end = size_bytes;  // behind the last byte
  if (!first) {
    begin = size_bytes - std::min(size_bytes, *last);
  } else {
    if (last && *last < *first) return whole;
    begin = *first;
    if (last && *last < size_bytes) end = *last + 1;
  }
  if (begin >= end) return {.kind = RangeKind::unsatisfiable, .range = {}};
  return {.kind = RangeKind::part, .range = {.offset = begin, .length = end - begin}};
}

}  // namespace appmesh::api

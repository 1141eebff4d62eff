#include "cli/table.h"

#include <algorithm>
#include <numeric>

#include "cli/format.h"

namespace appmesh::cli {
namespace {

constexpr std::size_t kGap = 1;

bool continues(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

std::string cut(const std::string& text, std::size_t width) {
  if (display_width(text) <= width) return text;
  std::string out;
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size() && (used + 1 < width || continues(text[i])); ++i) {
    if (!continues(text[i])) ++used;
    out.push_back(text[i]);
  }
  return out + "*";
}

std::string_view style_code(Style style) {
  switch (style) {
    case Style::kGood:
      return "\033[32m";
    case Style::kBad:
      return "\033[31m";
    case Style::kDim:
      return "\033[2m";
    default:
      return {};
  }
}

void shrink(std::vector<std::size_t>& widths, const std::vector<Column>& columns, std::size_t limit) {
  std::size_t total = std::accumulate(widths.begin(), widths.end(), kGap * (widths.size() - 1));
  for (std::size_t i = columns.size(); i-- > 0 && total > limit;) {
    if (columns[i].shrink_to == 0 || widths[i] <= columns[i].shrink_to) continue;
    const std::size_t less = std::min(total - limit, widths[i] - columns[i].shrink_to);
    widths[i] -= less;
    total -= less;
  }
}

}  // namespace

std::size_t display_width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !continues(c); }));
}

std::string Table::render(std::optional<std::size_t> width, bool colour) const {
  std::vector<std::vector<Cell>> shown = rows_;
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    widths.push_back(display_width(columns_[i].title));
    for (auto& row : shown) {
      row.resize(columns_.size());
      row[i].text = row[i].text.empty() ? "-" : printable(row[i].text);
      widths[i] = std::max(widths[i], display_width(row[i].text));
    }
  }
  if (width && !widths.empty()) shrink(widths, columns_, *width);

  std::string out;
  const auto line = [&](const auto& text_of, const auto& style_of) {
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string text = cut(text_of(i), widths[i]);
      const std::string_view code = colour ? style_of(i) : std::string_view{};
      out += std::string(code) + text + (code.empty() ? "" : "\033[0m");
      if (i + 1 < columns_.size()) out.append(widths[i] - display_width(text) + kGap, ' ');
    }
    out += "\n";
  };
  line([&](std::size_t i) { return columns_[i].title; }, [](std::size_t) { return std::string_view("\033[1m"); });
  for (const auto& row : shown) {
    line([&](std::size_t i) { return row[i].text; }, [&](std::size_t i) { return style_code(row[i].style); });
  }
  return out;
}

}  // namespace appmesh::cli

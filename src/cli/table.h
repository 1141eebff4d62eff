// An aligned text table. A value built up row by row and rendered once; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace appmesh::cli {

enum class Style { kPlain, kGood, kBad, kDim };

struct Cell {
  std::string text;  // empty is shown as "-"
  Style style = Style::kPlain;
};

struct Column {
  std::string title;
  std::size_t shrink_to = 0;  // narrowest width it may be cut to; 0 = never cut
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }

  // `width`: cut the columns that allow it, last one first, until a line fits; cut cells end in '*'.
  [[nodiscard]] std::string render(std::optional<std::size_t> width, bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Number of code points: good enough for names and commands, which are ASCII nearly always.
std::size_t display_width(std::string_view text);

}  // namespace appmesh::cli

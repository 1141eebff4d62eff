#include "core/text.h"

#include <algorithm>
#include <vector>

namespace appmesh::core {

namespace {

constexpr std::size_t kLongestWord = 64;

// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> table(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) table[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) table[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
    }
  }
  return table[a.size()][b.size()];
}

}  // namespace

std::string plain_text(std::string_view text) {
  std::string out = repair_utf8(text);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    const bool c1 = c == 0xC2 && i + 1 < out.size() && static_cast<unsigned char>(out[i + 1]) < 0xA0;
    if (c1) ++i;
    out[kept++] = c1 || c < 0x20 || c == 0x7F ? '?' : static_cast<char>(c);
  }
  out.resize(kept);
  return out;
}

std::string_view nearest_word(std::string_view text, std::span<const std::string_view> words) {
  if (text.size() > kLongestWord) return {};
  std::string_view best;
  std::size_t nearest = std::min<std::size_t>(2, text.size() / 3) + 1;
  for (const std::string_view word : words) {
    const std::size_t away = distance(text, word);
    if (away >= nearest) continue;
    nearest = away;
    best = word;
  }
  return best;
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 64;
  std::string out(text.substr(0, kLongest));
  for (char& c : out)
    if (c < 0x20 || c > 0x7E) c = '?';
  return out;
}

}  // namespace appmesh::core

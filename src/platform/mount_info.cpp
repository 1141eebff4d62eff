#include "platform/mount_info.h"

#include <algorithm>
#include <sstream>

#include "platform/file.h"

namespace appmesh::platform {
namespace {

constexpr std::uint64_t kMaxBytes = 16U << 20U;

// Spaces and backslashes are written as three octal digits.
std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto is_octal = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(i + 1) && is_octal(i + 2) && is_octal(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

bool Mount::has_super_option(std::string_view option) const {
  std::string_view rest = super_options;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    if (rest.substr(0, end) == option) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

Result<std::vector<Mount>> read_mount_info(const std::filesystem::path& file) {
  auto text = read_file(file, kMaxBytes);
  if (!text) return std::unexpected(text.error());
  std::vector<Mount> mounts;
  std::istringstream lines{*text};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string skipped;
    std::string point;
    words >> skipped >> skipped >> skipped >> skipped >> point >> skipped;
    // A varying number of optional fields ends with a single "-".
    while (words >> skipped && skipped != "-") {
    }
    Mount mount;
    if (words >> mount.type >> skipped >> mount.super_options) {
      mount.point = unescape(point);
      mounts.push_back(std::move(mount));
    }
  }
  return mounts;
}

}  // namespace appmesh::platform

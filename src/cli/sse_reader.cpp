#include "cli/sse_reader.h"

#include <utility>

namespace appmesh::cli {

void SseReader::feed(std::string_view piece) {
  while (!piece.empty()) {
    const auto end = piece.find('\n');
    line_.append(piece.substr(0, end));
    if (end == std::string_view::npos) return;
    piece.remove_prefix(end + 1);
    std::string line = std::exchange(line_, {});
    if (line.ends_with('\r')) line.pop_back();
    take_line(line);
  }
}

void SseReader::take_line(std::string_view line) {
  if (line.empty()) {
    const StreamedEvent event = std::exchange(event_, {});
    if (!event.data.empty()) on_event_(event);
    return;
  }
  if (line.starts_with(':')) return;
  const auto colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view{} : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (field == "id") event_.id = value;
  if (field == "event") event_.type = value;
  if (field == "data") event_.data += (event_.data.empty() ? "" : "\n") + std::string(value);
}

}  // namespace appmesh::cli

// Takes a text/event-stream apart (WHATWG HTML, section 9.2.6), however it is cut into pieces. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace appmesh::cli {

struct StreamedEvent {
  std::string id;
  std::string type;
  std::string data;
};

class SseReader {
 public:
  explicit SseReader(std::function<void(const StreamedEvent&)> on_event) : on_event_(std::move(on_event)) {}
  void feed(std::string_view piece);

 private:
  void take_line(std::string_view line);

  std::function<void(const StreamedEvent&)> on_event_;
  std::string line_;
  StreamedEvent event_;
};

}  // namespace appmesh::cli

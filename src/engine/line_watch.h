// Waits for the line of output that makes a run ready (`readiness: {by: log}`, docs/wire.md#own-fields). Reads the
// run's file from its beginning, a bounded piece a turn, and sleeps on the output watch in between. Owned by the engine
// and used only on its thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include <boost/asio/io_context.hpp>

#include "core/line_pattern.h"
#include "engine/output_watch.h"

namespace appmesh::engine {

class LineWatch {
 public:
  LineWatch(boost::asio::io_context& context, OutputWatch& watch, const runtime::OutputFiles& outputs,
            std::function<void(const runtime::RunId&)> found);

  // The run must be known to the output watch. The same pattern again changes nothing, another one begins anew.
  void follow(const runtime::RunId& run, const std::string& app, core::RunNumber number, const std::string& pattern);
  void forget(const runtime::RunId& run) { searches_.erase(run); }

 private:
  struct Search {
    std::string app;
    core::RunNumber number = 0;
    std::string pattern_text;
    core::LinePattern pattern;
    std::uint64_t position = 0;
    std::string line;  // what there is of the line at `position`, at most kMaxLineBytes
  };
  using SearchPtr = std::shared_ptr<Search>;

  void look(const runtime::RunId& run, const SearchPtr& search);
  [[nodiscard]] bool has_match(Search& search, std::string_view bytes) const;
  [[nodiscard]] bool is_current(const runtime::RunId& run, const SearchPtr& search) const;

  boost::asio::io_context& context_;
  OutputWatch& watch_;
  const runtime::OutputFiles& outputs_;
  std::function<void(const runtime::RunId&)> found_;
  std::unordered_map<runtime::RunId, SearchPtr, runtime::RunIdHash> searches_;
};

}  // namespace appmesh::engine

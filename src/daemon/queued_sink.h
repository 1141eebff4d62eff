// A log sink that hands lines to one writer thread, so that whoever logs never waits for a disk: a full queue drops the
// oldest line and says later how many were lost. The thread sleeps until there is a line; it has no timer. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>

namespace appmesh::daemon {

class QueuedSink final : public spdlog::sinks::sink {
 public:
  QueuedSink(std::vector<spdlog::sink_ptr> targets, std::size_t capacity);
  ~QueuedSink() override;  // writes what is queued

  void log(const spdlog::details::log_msg& message) override;
  void flush() override {}  // the writer flushes after each batch
  void set_pattern(const std::string& pattern) override;
  // The writer goes on with another target from its next batch on; has the pattern already.
  void replace(std::size_t index, spdlog::sink_ptr target);
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

 private:
  // A copy that owns its text: a log_msg only views it.
  struct Line {
    spdlog::log_clock::time_point time;
    std::size_t thread_id = 0;
    spdlog::level::level_enum level = spdlog::level::info;
    std::string text;
  };
  void write_lines();

  std::vector<spdlog::sink_ptr> targets_;  // the writer's alone once there are lines
  std::vector<std::pair<std::size_t, spdlog::sink_ptr>> replacements_;
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<Line> lines_;
  std::uint64_t dropped_ = 0;
  bool ending_ = false;
  std::thread writer_;
};

}  // namespace appmesh::daemon

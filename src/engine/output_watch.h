// Notices that a run has written: wakes those who wait for its output and keeps its file within its bound. A file that
// nobody follows costs at most one look a second while it is written to, and nothing while it is quiet. Used only on
// the engine thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/lifecycle.h"
#include "engine/timers.h"
#include "platform/inotify.h"
#include "runtime/output_files.h"
#include "runtime/run_id.h"

namespace appmesh::engine {

class OutputWatch {
 public:
  using Wake = std::move_only_function<void()>;
  using WaitId = std::uint64_t;

  OutputWatch(boost::asio::io_context& context, Timers& timers, const runtime::OutputFiles& outputs,
              std::uint64_t limit_bytes);

  void add(const runtime::RunId& run, const std::string& app, core::RunNumber number);
  // Wakes everybody who waits for it, bounds the file a last time.
  void remove(const runtime::RunId& run);

  // Files that are too long by now are cut soon, a few at a time.
  void set_limit(std::uint64_t limit_bytes);

  // `wake` is called once: when the file is longer than `position`, when the run is removed, or after `timeout`.
  // An `id` other than 0, made by the caller, is for end_wait().
  void wait(const runtime::RunId& run, std::uint64_t position, std::chrono::milliseconds timeout, Wake wake,
            WaitId id = 0);
  void end_wait(const runtime::RunId& run, WaitId id);  // wakes it now, if it is still there

 private:
  struct Waiter {
    std::uint64_t position = 0;
    Wake wake;
    TimerId timer = 0;
    std::uint64_t number = 0;
    WaitId id = 0;
  };
  struct File {
    std::string app;
    core::RunNumber number = 0;
    int watch = -1;  // -1: not armed, a look is planned
    TimerId look_timer = 0;
    std::vector<Waiter> waiters;
  };

  void arm(const runtime::RunId& run, File& file);
  void look_later(const runtime::RunId& run, File& file);
  void wait_readable();
  void read_events();
  void changed(const runtime::RunId& run);
  void wake_ready(File& file, bool all);

  Timers& timers_;
  const runtime::OutputFiles& outputs_;
  std::uint64_t limit_bytes_;
  std::optional<platform::Inotify> inotify_;
  std::optional<boost::asio::posix::stream_descriptor> descriptor_;
  std::unordered_map<runtime::RunId, File, runtime::RunIdHash> files_;
  std::unordered_map<int, runtime::RunId> watches_;
  std::uint64_t last_waiter_ = 0;
};

}  // namespace appmesh::engine

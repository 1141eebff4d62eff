// What the rest of the house may know of an app without asking the engine: an immutable picture of it, replaced as a
// whole at every change and found by name. AppDirectory may be read on any thread; only the engine writes it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/app_definition.h"
#include "core/lifecycle.h"
#include "core/zone.h"
#include "engine/task_queue.h"

namespace appmesh::engine {

// What a reader wrote of one picture, for the next reader. It lies with the picture, so a change, which makes another
// picture, can never be answered with an old text.
struct ShownApp {
  core::Zone zone;   // that its times are in
  std::string json;  // an object that is still open, without what changes while the picture stays the same
  std::uint64_t output_bytes = 0;
  std::chrono::steady_clock::time_point output_read;
};

class ShownAppSlot {
 public:
  ShownAppSlot() = default;
  ShownAppSlot(const ShownAppSlot&) {}  // another picture has nothing written of it yet
  ShownAppSlot& operator=(const ShownAppSlot&) = delete;
  ~ShownAppSlot() = default;

  [[nodiscard]] std::shared_ptr<const ShownApp> get() const {
    const std::lock_guard lock(mutex_);
    return shown_;
  }
  void set(std::shared_ptr<const ShownApp> shown) const {
    const std::lock_guard lock(mutex_);
    shown_.swap(shown);
  }

 private:
  mutable std::mutex mutex_;  // held for a copy of the pointer
  mutable std::shared_ptr<const ShownApp> shown_;
};

// The definition of an app that cannot be read or is refused: the app goes on with the last good one, if that is known.
struct InvalidDefinition {
  std::string file;
  std::size_t line = 0;  // from 1; 0: not known
  std::string reason;
  [[nodiscard]] std::string text() const {
    return file + (line != 0 ? ":" + std::to_string(line) : std::string()) + ": " + reason;
  }
};

struct AppView {
  std::uint64_t generation = 0;  // tells an app from another of the same name after a deletion
  std::shared_ptr<const core::AppDefinition> definition;
  core::AppStatus status = core::AppStatus::enabled;
  core::Phase phase = core::Phase::idle;
  std::uint32_t instance_count = 1;  // instances 1.. are found with AppDirectory::find_instance()
  bool on_demand = false;
  bool healthy = false;
  bool ready = false;                      // the run that lives, docs/wire.md#own-fields
  bool run_complete = false;               // the newest run has ended and its last output is stored
  std::int32_t pid = 0;                    // 0: nothing runs
  core::RunNumber run_number = 0;          // newest run, running or ended; 0: none yet
  std::string run_id;                      // its process_uuid
  std::vector<core::RunNumber> kept_runs;  // older runs whose output is kept, newest first
  std::uint64_t starts = 0;
  std::uint64_t missed_starts = 0;
  std::optional<int> return_code;
  std::optional<core::WallTime> last_start;
  std::optional<core::WallTime> last_exit;
  std::optional<core::WallTime> next_start;
  std::string status_text;              // what the run says of itself
  core::UnmetDependencies waiting_for;  // of an app whose start waits for others
  std::string last_error;
  std::optional<core::WallTime> last_error_time;
  std::shared_ptr<const InvalidDefinition> invalid;  // null: the definition is good
  std::shared_ptr<TaskQueue> tasks;  // never null; the one thing here that is not a picture but the real queue
  ShownAppSlot shown;                // filled by readers
  bool rolls = false;                // a rolling restart is under way
  std::string roll_stopped;          // why the last one stopped; empty: it did not
};

using AppViewPtr = std::shared_ptr<const AppView>;

class AppDirectory {
 public:
  // `changed` is told, after the fact and on the engine thread, of each app whose owner or permission is another one,
  // or that is gone. It must not wait.
  explicit AppDirectory(std::function<void(const std::string& app)> changed) : changed_(std::move(changed)) {}

  [[nodiscard]] AppViewPtr find(std::string_view name) const;  // nullptr: no such app
  // The picture of one instance (its definition has the name of core/instance_name.h); 0 is the app itself.
  [[nodiscard]] AppViewPtr find_instance(std::string_view name, std::uint32_t instance) const;
  [[nodiscard]] std::vector<AppViewPtr> list() const;  // sorted by name, without further instances

  void publish(AppViewPtr view);
  void erase(const std::string& name);

 private:
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };

  [[nodiscard]] AppViewPtr find_key(std::string_view name) const;

  const std::function<void(const std::string& app)> changed_;
  mutable std::shared_mutex mutex_;  // held for a lookup or the swap of one pointer, never over work
  std::unordered_map<std::string, AppViewPtr, NameHash, std::equal_to<>> views_;
};

}  // namespace appmesh::engine

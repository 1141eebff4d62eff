// The tasks of one app (docs/wire.md#tasks): callers put payloads in, the app's processes ("workers")
// fetch them and send answers back, and every caller gets exactly one answer. All processes of the app share the queue;
// each is known by its process key.
//
//   submit ─► queued ─► given to a worker ─► answered
//               │               │ fetch again: given again, to the same slot of the same worker
//               └── time-out, cancel, the caller or the last process goes ──► its caller is told, once
//
// A worker has one task in hand, in slot 0, unless it fetches for more slots: each is then a worker to itself, with a
// fetch, a task and an answer of its own, so that a program may work on several tasks at once or have the next ones
// there before it asks.
//
// Locked by itself and not owned by the engine thread: a round trip goes from the caller's connection to the worker's
// and back without a hop. Any thread. A Done is called once, never under the lock, possibly before the call that took
// it returns; it must only hand the result on.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/time.h"
#include "runtime/run_id.h"

namespace appmesh::engine {

using TaskId = std::uint64_t;   // counts the tasks of one app from 1
using FetchId = std::uint64_t;  // counts the fetches of one app from 1
using SlotId = std::uint32_t;   // of one worker, from 0

inline constexpr SlotId kMaxSlots = 64;  // of one worker

struct TaskLimits {
  std::size_t queued = 512;                                // tasks of one app that no worker has taken
  std::uint64_t payload_bytes = 64ULL * 1024 * 1024;       // of one task or answer
  std::uint64_t queued_bytes = 256ULL * 1024 * 1024;       // of one app's unanswered tasks
  std::uint64_t all_queued_bytes = 1024ULL * 1024 * 1024;  // of all apps' unanswered tasks
};

// What all apps hold together.
struct TaskBudget {
  TaskLimits limits;
  std::atomic<std::uint64_t> bytes{0};
};

// What happened since the daemon started, and what is so now. A copy, for the app's JSON and for metrics.
struct TaskFigures {
  using Duration = std::chrono::microseconds;

  std::uint64_t submitted = 0;    // accepted tasks
  std::uint64_t answered = 0;     // by a worker
  std::uint64_t redelivered = 0;  // given to their worker once more
  std::uint64_t timed_out = 0;
  std::uint64_t cancelled = 0;    // by DELETE
  std::uint64_t interrupted = 0;  // their process ended
  std::uint64_t abandoned = 0;    // their caller went away
  std::uint64_t refused = 0;      // the queue was full, or no process was running

  std::size_t queued = 0;  // now, and no worker has taken them
  std::size_t active = 0;  // now, with a worker
  std::uint64_t bytes = 0;
  std::size_t workers = 0;  // live processes
  std::size_t waiting_workers = 0;

  std::uint64_t taken = 0;  // tasks that a worker took; wait times are over these, service times over `answered`
  Duration wait_total{0};   // from submit to the first fetch
  Duration wait_max{0};
  Duration service_total{0};  // from the first fetch to the answer
  Duration service_max{0};

  TaskId last_task = 0;  // given to a worker last
  [[nodiscard]] bool busy() const { return queued + active > 0; }
};

class TaskQueue {
 public:
  using Payload = std::shared_ptr<const std::string>;
  template <typename T>
  using Done = std::move_only_function<void(Result<T>)>;

  explicit TaskQueue(std::shared_ptr<TaskBudget> budget);
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  // ---- The processes, told by the engine. A run's key is known before its process can use it.

  // An older worker of the same instance is replaced: its fetch and its task are interrupted.
  void add_worker(const runtime::RunId& run, std::uint32_t instance, std::string key);
  void worker_started(const runtime::RunId& run);
  // Its fetch and its task are interrupted; with the last worker everything that waits. Unknown runs are fine.
  void remove_worker(const runtime::RunId& run);
  // The app is deleted: the same for all of them, and nothing is taken any more.
  void close();

  // ---- Callers.

  // The task's number; `done` gets the answer, or expectation_failed (interrupted, cancelled), timed_out. Errors, and
  // then `done` is not called: invalid_argument "No process running", unavailable when full, too_large, not_found.
  Result<TaskId> submit(std::string payload, Done<std::string> done);
  // Unknown and finished numbers are fine.
  void expire(TaskId task);
  void abandon(TaskId task);  // its caller has gone: nobody is told
  // Every task that a worker has; when there is none, the first that waits for one. False: there was no task.
  bool cancel();

  // ---- Workers. Errors of all: precondition_failed "Process key mismatch".

  // `done` gets a payload as soon as there is one: that of the task that this slot has not answered yet, else the
  // oldest of the queue. Errors: unavailable when a newer fetch of the same slot comes, expectation_failed when the
  // process ends. `slot` < kMaxSlots.
  Result<FetchId> fetch(std::string_view key, SlotId slot, Done<Payload> done);
  // Its connection has gone. A payload that was handed on already stays this slot's, and is given again.
  void drop_fetch(FetchId fetch);
  // expectation_failed when nobody waits for it any more.
  Result<> answer(std::string_view key, SlotId slot, std::string result);

  [[nodiscard]] TaskFigures figures() const;

 private:
  struct Task;
  struct Slot;
  struct Worker;
  class Outcomes;  // Dones to call when the lock is let go

  [[nodiscard]] Worker* find(std::string_view key);
  void give(Slot& slot, Task task, Outcomes& outcomes);
  void hand_out(Outcomes& outcomes);
  void interrupt(Worker& worker, std::string_view why, Outcomes& outcomes);
  void interrupt_queue(std::string_view why, Outcomes& outcomes);
  void release(const Task& task);
  [[nodiscard]] std::optional<Task> take_out(TaskId id);

  mutable std::mutex mutex_;
  const std::shared_ptr<TaskBudget> budget_;
  std::list<Task> queue_;
  std::vector<std::unique_ptr<Worker>> workers_;
  TaskFigures figures_;
  TaskId last_task_ = 0;
  FetchId last_fetch_ = 0;
  bool closed_ = false;
};

}  // namespace appmesh::engine

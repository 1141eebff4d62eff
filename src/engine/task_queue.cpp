#include "engine/task_queue.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <openssl/crypto.h>

#include "platform/clock.h"

namespace appmesh::engine {

namespace {

constexpr std::string_view kEnded = "The process ended before it answered the task";
constexpr std::string_view kReplaced = "The process was replaced before it answered the task";
constexpr std::string_view kRemoved = "The application was removed";

// How long it takes must not tell how much of a key was right.
bool same_key(std::string_view a, std::string_view b) {
  return !a.empty() && a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Error key_mismatch() {
  return {ErrorKind::precondition_failed, "Process key mismatch", {}};
}

}  // namespace

struct TaskQueue::Task {
  TaskId id = 0;
  Payload payload;
  Done<std::string> done;
  core::SteadyTime submitted{};
  core::SteadyTime taken{};
};

struct TaskQueue::Slot {
  std::optional<Task> active;
  Done<Payload> fetch;  // set while it waits for a payload
  FetchId fetch_id = 0;
};

struct TaskQueue::Worker {
  runtime::RunId run;
  std::uint32_t instance = 0;
  std::string key;
  bool started = false;      // its process lives; before that its start is under way
  bool has_fetched = false;  // ever, as far as this daemon knows
  std::vector<Slot> slots;   // as many as it ever named: none before the first fetch

  [[nodiscard]] std::size_t active() const { return std::ranges::count_if(slots, &is_busy); }
  // The fetch that has waited longest, or null.
  [[nodiscard]] Slot* waiting() {
    Slot* oldest = nullptr;
    for (Slot& slot : slots)
      if (slot.fetch && (oldest == nullptr || slot.fetch_id < oldest->fetch_id)) oldest = &slot;
    return oldest;
  }
  Slot& slot(SlotId id) {
    if (slots.size() <= id) slots.resize(id + 1);
    return slots[id];
  }
  static bool is_busy(const Slot& slot) { return slot.active.has_value(); }
};

// Small and on the stack in the usual case: one answer, one payload.
class TaskQueue::Outcomes {
 public:
  Outcomes() = default;
  ~Outcomes() {
    for (auto& call : calls_) call();
  }
  Outcomes(const Outcomes&) = delete;
  Outcomes& operator=(const Outcomes&) = delete;

  template <typename T>
  void add(Done<T> done, Result<T> result) {
    if (done)
      calls_.emplace_back([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }

 private:
  std::vector<std::move_only_function<void()>> calls_;
};

TaskQueue::TaskQueue(std::shared_ptr<TaskBudget> budget) : budget_(std::move(budget)) {}

TaskQueue::~TaskQueue() {
  close();  // whoever waits is told, even if nobody said that the app is gone
}

// ---- processes
// ---------------------------------------------------------------------------------------------------------

void TaskQueue::add_worker(const runtime::RunId& run, std::uint32_t instance, std::string key) {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  std::erase_if(workers_, [&](const std::unique_ptr<Worker>& worker) {
    if (worker->instance != instance || worker->run == run) return false;
    interrupt(*worker, kReplaced, outcomes);
    return true;
  });
  if (std::ranges::find(workers_, run, [](const auto& worker) { return worker->run; }) != workers_.end()) return;
  auto worker = std::make_unique<Worker>();
  worker->run = run;
  worker->instance = instance;
  worker->key = std::move(key);
  workers_.push_back(std::move(worker));
}

void TaskQueue::worker_started(const runtime::RunId& run) {
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_)
    if (worker->run == run) worker->started = true;
}

void TaskQueue::remove_worker(const runtime::RunId& run) {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  const auto removed = std::erase_if(workers_, [&](const std::unique_ptr<Worker>& worker) {
    if (worker->run != run) return false;
    interrupt(*worker, kEnded, outcomes);
    return true;
  });
  if (removed > 0 && workers_.empty()) interrupt_queue(kEnded, outcomes);
}

void TaskQueue::close() {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (const auto& worker : workers_) interrupt(*worker, kRemoved, outcomes);
  workers_.clear();
  interrupt_queue(kRemoved, outcomes);
}

void TaskQueue::interrupt(Worker& worker, std::string_view why, Outcomes& outcomes) {
  for (Slot& slot : worker.slots) {
    if (slot.fetch)
      outcomes.add<Payload>(std::exchange(slot.fetch, nullptr), fail(ErrorKind::expectation_failed, std::string(why)));
    if (!slot.active) continue;
    release(*slot.active);
    ++figures_.interrupted;
    outcomes.add<std::string>(std::move(slot.active->done), fail(ErrorKind::expectation_failed, std::string(why)));
    slot.active.reset();
  }
}

void TaskQueue::interrupt_queue(std::string_view why, Outcomes& outcomes) {
  for (auto& task : std::exchange(queue_, {})) {
    release(task);
    ++figures_.interrupted;
    outcomes.add<std::string>(std::move(task.done), fail(ErrorKind::expectation_failed, std::string(why)));
  }
}

void TaskQueue::release(const Task& task) {
  const std::uint64_t bytes = task.payload->size();
  figures_.bytes -= bytes;
  budget_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

// ---- callers
// -----------------------------------------------------------------------------------------------------------

Result<TaskId> TaskQueue::submit(std::string payload, Done<std::string> done) {
  const TaskLimits& limits = budget_->limits;
  if (payload.size() > limits.payload_bytes)
    return fail(ErrorKind::too_large, fmt::format("body: a task has at most {} bytes", limits.payload_bytes));
  Task task{.id = 0,
            .payload = std::make_shared<const std::string>(std::move(payload)),
            .done = std::move(done),
            .submitted = platform::steady_now()};
  const std::uint64_t bytes = task.payload->size();

  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  if (closed_) return fail(ErrorKind::not_found, std::string(kRemoved));
  if (std::ranges::none_of(workers_, [](const auto& worker) { return worker->started; })) {
    ++figures_.refused;
    return fail(ErrorKind::invalid_argument, "No process running");
  }
  if (queue_.size() >= limits.queued) {
    ++figures_.refused;
    return fail(ErrorKind::unavailable, fmt::format("The task queue is full: {} tasks wait", queue_.size()));
  }
  if (figures_.bytes + bytes > limits.queued_bytes) {
    ++figures_.refused;
    return fail(ErrorKind::unavailable, fmt::format("The task queue is full: {} bytes wait", figures_.bytes));
  }
  if (budget_->bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes > limits.all_queued_bytes) {
    budget_->bytes.fetch_sub(bytes, std::memory_order_relaxed);
    ++figures_.refused;
    return fail(ErrorKind::unavailable, "The tasks of all applications together hold too many bytes");
  }
  figures_.bytes += bytes;
  ++figures_.submitted;
  const TaskId id = task.id = ++last_task_;
  queue_.push_back(std::move(task));
  hand_out(outcomes);
  return id;
}

std::optional<TaskQueue::Task> TaskQueue::take_out(TaskId id) {
  std::optional<Task> task;
  if (const auto found = std::ranges::find(queue_, id, &Task::id); found != queue_.end()) {
    task = std::move(*found);
    queue_.erase(found);
  } else {
    for (const auto& worker : workers_)
      for (Slot& slot : worker->slots)
        if (slot.active && slot.active->id == id) task = std::exchange(slot.active, std::nullopt);
  }
  if (task) release(*task);
  return task;
}

void TaskQueue::expire(TaskId id) {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  auto task = take_out(id);
  if (!task) return;
  ++figures_.timed_out;
  const bool fetched = std::ranges::any_of(workers_, [](const auto& worker) { return worker->has_fetched; });
  std::string message = !fetched ? "Task timed out: the process has never fetched a task"
                        : task->taken == core::SteadyTime{}
                            ? "Task timed out: every process was busy with other tasks"
                            : "Task timed out: the process fetched it and has not answered";
  outcomes.add<std::string>(std::move(task->done), fail(ErrorKind::timed_out, std::move(message)));
}

void TaskQueue::abandon(TaskId id) {
  std::optional<Task> task;  // freed when the lock is let go
  const std::lock_guard lock(mutex_);
  task = take_out(id);
  if (task) ++figures_.abandoned;
}

bool TaskQueue::cancel() {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  std::vector<TaskId> ids;
  for (const auto& worker : workers_)
    for (const Slot& slot : worker->slots)
      if (slot.active) ids.push_back(slot.active->id);
  if (ids.empty() && !queue_.empty()) ids.push_back(queue_.front().id);
  for (const TaskId id : ids) {
    auto task = take_out(id);
    ++figures_.cancelled;
    outcomes.add<std::string>(std::move(task->done), fail(ErrorKind::expectation_failed, "The task was cancelled"));
  }
  return !ids.empty();
}

// ---- workers
// -----------------------------------------------------------------------------------------------------------

TaskQueue::Worker* TaskQueue::find(std::string_view key) {
  Worker* found = nullptr;
  for (const auto& worker : workers_)
    if (same_key(worker->key, key)) found = worker.get();
  return found;
}

Result<FetchId> TaskQueue::fetch(std::string_view key, SlotId slot_id, Done<Payload> done) {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  Worker* worker = find(key);
  if (worker == nullptr) return std::unexpected(key_mismatch());
  worker->started = worker->has_fetched = true;
  Slot& slot = worker->slot(slot_id);
  if (slot.fetch)
    outcomes.add<Payload>(std::exchange(slot.fetch, nullptr),
                          fail(ErrorKind::unavailable, "Superseded by a newer fetch of the same process"));
  slot.fetch = std::move(done);
  slot.fetch_id = ++last_fetch_;
  if (slot.active) {
    ++figures_.redelivered;
    outcomes.add<Payload>(std::exchange(slot.fetch, nullptr), slot.active->payload);
  } else {
    hand_out(outcomes);
  }
  return last_fetch_;
}

// The least busy worker takes the next task; of equally busy ones that which has waited longest.
void TaskQueue::hand_out(Outcomes& outcomes) {
  while (!queue_.empty()) {
    Worker* idlest = nullptr;
    Slot* oldest = nullptr;
    std::size_t least = 0;
    for (const auto& worker : workers_) {
      Slot* const waiting = worker->waiting();
      if (waiting == nullptr) continue;
      const std::size_t active = worker->active();
      if (idlest != nullptr && (active > least || (active == least && waiting->fetch_id > oldest->fetch_id))) continue;
      idlest = worker.get();
      oldest = waiting;
      least = active;
    }
    if (idlest == nullptr) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    give(*oldest, std::move(task), outcomes);
  }
}

void TaskQueue::give(Slot& slot, Task task, Outcomes& outcomes) {
  task.taken = platform::steady_now();
  const auto waited = task.taken - task.submitted;
  ++figures_.taken;
  figures_.wait_total += waited;
  figures_.wait_max = std::max(figures_.wait_max, waited);
  figures_.last_task = task.id;
  outcomes.add<Payload>(std::exchange(slot.fetch, nullptr), task.payload);
  slot.active = std::move(task);
}

void TaskQueue::drop_fetch(FetchId fetch) {
  Outcomes outcomes;
  const std::lock_guard lock(mutex_);
  for (const auto& worker : workers_)
    for (Slot& slot : worker->slots)
      if (slot.fetch && slot.fetch_id == fetch)
        outcomes.add<Payload>(std::exchange(slot.fetch, nullptr), fail(ErrorKind::unavailable, "The connection ended"));
}

Result<> TaskQueue::answer(std::string_view key, SlotId slot_id, std::string result) {
  if (result.size() > budget_->limits.payload_bytes)
    return fail(ErrorKind::too_large,
                fmt::format("body: an answer has at most {} bytes", budget_->limits.payload_bytes));
  std::optional<Task> task;
  {
    const std::lock_guard lock(mutex_);
    Worker* worker = find(key);
    if (worker == nullptr) return std::unexpected(key_mismatch());
    worker->started = worker->has_fetched = true;
    if (slot_id < worker->slots.size()) task = std::exchange(worker->slots[slot_id].active, std::nullopt);
    if (!task) return fail(ErrorKind::expectation_failed, "Nobody waits for this answer any more");
    release(*task);
    const auto served = platform::steady_now() - task->taken;
    ++figures_.answered;
    figures_.service_total += served;
    figures_.service_max = std::max(figures_.service_max, served);
  }
  task->done(std::move(result));
  return {};
}

TaskFigures TaskQueue::figures() const {
  const std::lock_guard lock(mutex_);
  TaskFigures figures = figures_;
  figures.queued = queue_.size();
  for (const auto& worker : workers_) {
    figures.active += worker->active();
    figures.workers += worker->started ? 1 : 0;
    figures.waiting_workers += worker->waiting() != nullptr ? 1 : 0;
  }
  return figures;
}

}  // namespace appmesh::engine

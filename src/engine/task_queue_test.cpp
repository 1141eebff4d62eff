#include "engine/task_queue.h"

#include <atomic>
#include <future>
#include <thread>

#include <gtest/gtest.h>

namespace appmesh::engine {
namespace {

constexpr auto kNoId = TaskId{0};

// A caller's or a worker's end of one call.
template <typename T>
struct Call {
  std::shared_ptr<std::optional<Result<T>>> outcome = std::make_shared<std::optional<Result<T>>>();
  int calls() const { return *count; }
  std::shared_ptr<int> count = std::make_shared<int>(0);

  TaskQueue::Done<T> done() {
    return [outcome = outcome, count = count](Result<T> result) {
      ++*count;
      outcome->emplace(std::move(result));
    };
  }
  bool waits() const { return !outcome->has_value(); }
  int status() const { return waits() ? 0 : (*outcome)->has_value() ? 200 : http_status((*outcome)->error().kind); }
  std::string message() const { return status() == 200 ? "" : (*outcome)->error().message; }
};

struct Caller : Call<std::string> {
  TaskId id = kNoId;
  int refused = 0;
  std::string refusal;
  std::string answer() const { return status() == 200 ? ***outcome : "?"; }
};
struct Fetch : Call<TaskQueue::Payload> {
  FetchId id = 0;
  int refused = 0;
  std::string payload() const { return status() == 200 ? *(***outcome) : "?"; }
};

class TaskQueueTest : public testing::Test {
 protected:
  Caller submit(const std::string& payload) {
    Caller caller;
    const auto id = queue.submit(payload, caller.done());
    if (id)
      caller.id = *id;
    else
      caller.refused = http_status(id.error().kind), caller.refusal = id.error().message;
    return caller;
  }
  Fetch fetch(const std::string& key, SlotId slot = 0) {
    Fetch fetch;
    const auto id = queue.fetch(key, slot, fetch.done());
    if (id)
      fetch.id = *id;
    else
      fetch.refused = http_status(id.error().kind);
    return fetch;
  }
  int answer(const std::string& key, const std::string& text, SlotId slot = 0) {
    const auto taken = queue.answer(key, slot, text);
    return taken ? 200 : http_status(taken.error().kind);
  }
  runtime::RunId start(const std::string& key, std::uint32_t instance = 0) {
    const auto run = runtime::RunId::random();
    queue.add_worker(run, instance, key);
    queue.worker_started(run);
    return run;
  }

  std::shared_ptr<TaskBudget> budget = std::make_shared<TaskBudget>();
  TaskQueue queue{budget};
};

TEST_F(TaskQueueTest, ATaskGoesToAWaitingWorkerAndItsAnswerBack) {
  start("key");
  auto worker = fetch("key");
  EXPECT_TRUE(worker.waits());
  auto caller = submit("question");
  EXPECT_EQ(worker.payload(), "question");
  EXPECT_TRUE(queue.figures().busy());
  EXPECT_EQ(answer("key", "reply"), 200);
  EXPECT_EQ(caller.answer(), "reply");
  EXPECT_FALSE(queue.figures().busy());
  EXPECT_EQ(queue.figures().last_task, caller.id);
}

TEST_F(TaskQueueTest, WithoutAProcessATaskIsRefusedAtOnce) {
  EXPECT_EQ(submit("x").refused, 400);
  EXPECT_EQ(submit("x").refusal, "No process running");
  queue.add_worker(runtime::RunId::random(), 0, "key");
  EXPECT_EQ(submit("x").refused, 400) << "its start is under way";
  const auto run = start("key");
  queue.remove_worker(run);
  EXPECT_EQ(submit("x").refused, 400);
}

TEST_F(TaskQueueTest, TasksAreTakenInTheOrderTheyCame) {
  start("key");
  auto a = submit("a"), b = submit("b"), c = submit("c");
  for (const auto* text : {"a", "b", "c"}) {
    EXPECT_EQ(fetch("key").payload(), text);
    EXPECT_EQ(answer("key", std::string("re ") + text), 200);
  }
  EXPECT_EQ(a.answer() + b.answer() + c.answer(), "re are bre c");
}

TEST_F(TaskQueueTest, AnUnansweredTaskIsGivenAgainToItsWorkerOnly) {
  start("one", 0);
  start("two", 1);
  auto caller = submit("x");
  EXPECT_EQ(fetch("one").payload(), "x");
  EXPECT_TRUE(fetch("two").waits());
  EXPECT_EQ(fetch("one").payload(), "x");
  EXPECT_EQ(answer("one", "y"), 200);
  EXPECT_EQ(caller.answer(), "y");
  EXPECT_EQ(answer("one", "y"), 417) << "answered once";
  EXPECT_EQ(caller.calls(), 1);
}

TEST_F(TaskQueueTest, ANewerFetchReplacesAnOlderOne) {
  start("key");
  auto older = fetch("key"), newer = fetch("key");
  EXPECT_EQ(older.status(), 503);
  submit("x");
  EXPECT_EQ(newer.payload(), "x");
}

TEST_F(TaskQueueTest, EverySlotIsAWorkerToItself) {
  start("key");
  auto first = fetch("key", 0), third = fetch("key", 2);
  auto a = submit("a"), b = submit("b"), c = submit("c");
  EXPECT_EQ(first.payload() + third.payload(), "ab");
  EXPECT_EQ(queue.figures().active, 2U);
  EXPECT_EQ(queue.figures().waiting_workers, 0U);
  EXPECT_EQ(answer("key", "nothing", 1), 417) << "slot 1 has no task";
  EXPECT_EQ(fetch("key", 2).payload(), "b") << "given again to the slot that has it";
  EXPECT_EQ(answer("key", "re b", 2), 200);
  EXPECT_EQ(b.answer(), "re b");
  EXPECT_TRUE(a.waits());
  auto older = fetch("key", kMaxSlots - 1), newer = fetch("key", 2);
  EXPECT_EQ(older.payload(), "c");
  EXPECT_TRUE(newer.waits()) << "a fetch of another slot does not replace it";
  EXPECT_EQ(answer("key", "re c", kMaxSlots - 1), 200);
  EXPECT_EQ(answer("key", "re a", 0), 200);
  EXPECT_EQ(a.answer() + c.answer(), "re are c");
}

TEST_F(TaskQueueTest, TheLeastBusyWorkerTakesTheNextTask) {
  start("one", 0);
  start("two", 1);
  std::vector<Fetch> one, two;
  for (SlotId slot = 0; slot < 3; ++slot) one.push_back(fetch("one", slot));
  for (SlotId slot = 0; slot < 3; ++slot) two.push_back(fetch("two", slot));
  std::vector<Caller> callers;
  for (const auto* text : {"a", "b", "c", "d"}) callers.push_back(submit(text));
  EXPECT_EQ(one[0].payload() + two[0].payload() + one[1].payload() + two[1].payload(), "abcd");
  EXPECT_EQ(answer("two", "", 0), 200);
  EXPECT_EQ(answer("two", "", 1), 200);
  submit("e");
  EXPECT_EQ(two[2].payload(), "e") << "though the other one has waited longer";
}

TEST_F(TaskQueueTest, AWorkersEndAndACancelReachAllItsSlots) {
  const auto run = start("key");
  auto busy = fetch("key", 0), other = fetch("key", 1);
  auto a = submit("a"), b = submit("b");
  EXPECT_TRUE(queue.cancel());
  EXPECT_EQ(a.status(), 417);
  EXPECT_EQ(b.status(), 417);
  auto waiting = fetch("key", 0), working = fetch("key", 1);
  auto c = submit("c");
  queue.remove_worker(run);
  EXPECT_EQ(c.status(), 417);
  EXPECT_EQ(working.status(), 417);
  EXPECT_EQ(queue.figures().bytes, 0U);
}

TEST_F(TaskQueueTest, ADroppedFetchSwallowsNothing) {
  start("key");
  auto gone = fetch("key");
  queue.drop_fetch(gone.id);
  auto caller = submit("x");
  EXPECT_NE(gone.status(), 200);
  auto next = fetch("key");
  EXPECT_EQ(next.payload(), "x");
  queue.drop_fetch(next.id);
  EXPECT_EQ(fetch("key").payload(), "x") << "handed on, then lost";
  EXPECT_TRUE(caller.waits());
}

TEST_F(TaskQueueTest, TheIdlestWorkerTakesTheNextTask) {
  start("one", 0);
  start("two", 1);
  auto one = fetch("one"), two = fetch("two");
  submit("a");
  EXPECT_EQ(one.payload(), "a");
  answer("one", "");
  one = fetch("one");
  submit("b");
  EXPECT_EQ(two.payload(), "b");
  EXPECT_TRUE(one.waits());
}

TEST_F(TaskQueueTest, AWrongKeyAndAStaleKeyAreRefused) {
  const auto run = start("key");
  for (const auto* key : {"", "kez", "ke", "keyy"}) {
    EXPECT_EQ(fetch(key).refused, 412) << key;
    EXPECT_EQ(answer(key, "x"), 412) << key;
  }
  queue.remove_worker(run);
  EXPECT_EQ(fetch("key").refused, 412);
  EXPECT_EQ(answer("key", "x"), 412);
}

TEST_F(TaskQueueTest, TheEndOfTheLastProcessInterruptsEverything) {
  const auto one = start("one", 0);
  const auto two = start("two", 1);
  auto active = submit("a"), queued = submit("b");
  EXPECT_EQ(fetch("one").payload(), "a");
  queue.remove_worker(one);
  EXPECT_EQ(active.status(), 417);
  EXPECT_TRUE(queued.waits()) << "another process may take it";
  queue.remove_worker(two);
  EXPECT_EQ(queued.status(), 417);
}

TEST_F(TaskQueueTest, ANewRunOfAnInstanceInterruptsTheOldOneAndLeavesTheQueue) {
  start("old");
  auto active = submit("a"), queued = submit("b");
  fetch("old");
  start("new");
  EXPECT_EQ(active.status(), 417);
  EXPECT_EQ(answer("old", "late"), 412);
  EXPECT_EQ(fetch("new").payload(), "b");
  EXPECT_TRUE(queued.waits());
}

TEST_F(TaskQueueTest, TheEndOfAProcessInterruptsItsFetch) {
  const auto run = start("key");
  auto worker = fetch("key");
  queue.remove_worker(run);
  EXPECT_EQ(worker.status(), 417);
}

TEST_F(TaskQueueTest, ATimeOutSaysWhetherAProcessEverFetched) {
  start("key");
  auto never = submit("x");
  queue.expire(never.id);
  EXPECT_EQ(never.status(), 408);
  EXPECT_NE(never.message().find("never fetched"), std::string::npos);
  auto taken = submit("x"), queued = submit("y");
  fetch("key");
  queue.expire(taken.id);
  queue.expire(queued.id);
  EXPECT_EQ(taken.message().find("never"), std::string::npos);
  EXPECT_EQ(answer("key", "late"), 417);
  EXPECT_EQ(taken.calls(), 1);
  EXPECT_EQ(queue.figures().timed_out, 3U);
}

TEST_F(TaskQueueTest, CancelEndsWhatIsWorkedOnElseTheFirstThatWaits) {
  start("key");
  EXPECT_FALSE(queue.cancel());
  auto first = submit("a"), second = submit("b");
  fetch("key");
  EXPECT_TRUE(queue.cancel());
  EXPECT_EQ(first.status(), 417);
  EXPECT_TRUE(second.waits());
  EXPECT_TRUE(queue.cancel());
  EXPECT_EQ(second.status(), 417);
  EXPECT_FALSE(queue.cancel());
}

TEST_F(TaskQueueTest, ACallerThatLeavesFreesItsPlace) {
  budget->limits.queued = 1;
  start("key");
  auto left = submit("a");
  EXPECT_EQ(submit("b").refused, 503);
  queue.abandon(left.id);
  EXPECT_TRUE(left.waits()) << "there is nobody to tell";
  auto next = submit("b");
  EXPECT_EQ(next.refused, 0);
  EXPECT_EQ(fetch("key").payload(), "b");
}

TEST_F(TaskQueueTest, TheQueueIsBoundedInTasksAndInBytes) {
  budget->limits = {.queued = 3, .payload_bytes = 10, .queued_bytes = 20, .all_queued_bytes = 25};
  start("key");
  EXPECT_EQ(submit("12345678901").refused, 413);
  auto a = submit("1234567890"), b = submit("1234567890");
  EXPECT_EQ(submit("1").refused, 503);
  queue.expire(a.id);
  submit("1");
  submit("1");
  EXPECT_EQ(submit("1").refused, 503) << "three wait";
  TaskQueue other(budget);
  const auto run = runtime::RunId::random();
  other.add_worker(run, 0, "k");
  other.worker_started(run);
  EXPECT_TRUE(other.submit("1234567890", [](auto) {}).has_value());
  EXPECT_FALSE(other.submit("1234567890", [](auto) {}).has_value()) << "all together";
}

TEST_F(TaskQueueTest, ADeletedAppTakesNothingMore) {
  start("key");
  auto caller = submit("a");
  queue.close();
  EXPECT_EQ(caller.status(), 417);
  EXPECT_EQ(submit("b").refused, 404);
  EXPECT_EQ(fetch("key").refused, 412);
  EXPECT_EQ(budget->bytes, 0U);
}

// Every caller gets exactly one answer, and its own, however the threads meet.
TEST_F(TaskQueueTest, ManyThreadsGetTheirOwnAnswersExactlyOnce) {
  constexpr int kCallers = 4, kWorkers = 3, kTasks = 500;
  std::atomic<int> answered{0}, wrong{0};
  std::atomic<bool> over{false};
  for (int w = 0; w < kWorkers; ++w) start("key" + std::to_string(w), static_cast<std::uint32_t>(w));
  std::vector<std::jthread> threads;
  for (int w = 0; w < kWorkers; ++w)
    threads.emplace_back([&, key = "key" + std::to_string(w)] {
      while (!over) {
        std::promise<Result<TaskQueue::Payload>> got;
        auto payload = got.get_future();
        if (!queue.fetch(key, 0, [&got](auto result) { got.set_value(std::move(result)); })) return;
        const auto result = payload.get();
        if (!result) return;
        if (!queue.answer(key, 0, "re:" + **result)) ++wrong;
      }
    });
  {
    std::vector<std::jthread> callers;
    for (int c = 0; c < kCallers; ++c)
      callers.emplace_back([&, c] {
        for (int i = 0; i < kTasks; ++i) {
          const std::string text = std::to_string(c) + "/" + std::to_string(i);
          std::promise<Result<std::string>> got;
          auto answer = got.get_future();
          if (!queue.submit(text, [&got](auto result) { got.set_value(std::move(result)); })) ++wrong;
          const auto result = answer.get();
          result && *result == "re:" + text ? ++answered : ++wrong;
        }
      });
  }
  over = true;
  queue.close();
  threads.clear();
  EXPECT_EQ(answered, kCallers * kTasks);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(queue.figures().answered, static_cast<std::uint64_t>(kCallers * kTasks));
}

}  // namespace
}  // namespace appmesh::engine

#include "store/state_store.h"

#include <future>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include "platform/clock.h"
#include "platform/file.h"
#include "platform/random.h"
#include "platform/test_directory.h"

namespace appmesh::store {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const core::WallTime kStart = platform::wall_now() - std::chrono::hours{1};

RunRecord run_of(const std::string& app, int number) {
  return {.run_id = platform::random_hex(16),
          .app = app,
          .run_number = static_cast<std::uint64_t>(number),
          .pid = 1000 + number,
          .start = kStart + seconds{number}};
}

class StateStoreTest : public testing::Test {
 protected:
  std::unique_ptr<StateStore> open(StateStore::Options options = {}) {
    return StateStore::open(dir / "state.db", options).value();
  }
  platform::TestDirectory dir;
};

TEST_F(StateStoreTest, AppsAreReplacedAndAnEmptyDefinitionKeepsTheStoredOne) {
  auto store = open();
  store->save_app({"b", "{1}", "{d}"});
  store->save_app({"a", "{2}", ""});
  store->save_app({"b", "{3}", ""});
  store->save_app({"gone", "{}", "{}"});
  store->delete_app("gone");
  store->delete_app("never-there");
  store->flush();
  for (int i = 0; i < 2; ++i) {  // and again after a restart
    const auto apps = store->load_apps().value();
    ASSERT_EQ(apps.size(), 2U);
    EXPECT_EQ(apps[0].name + apps[0].state + apps[0].definition, "a{2}");
    EXPECT_EQ(apps[1].name + apps[1].state + apps[1].definition, "b{3}{d}");
    store = open();
  }
}

TEST_F(StateStoreTest, TheAuditTrailIsAChainThatGoesOnAfterARestartAndIsBounded) {
  constexpr int kEntries = 600;
  for (int i = 1; i <= kEntries; i += 200) {
    auto store = open({.audit_entries = 300});
    for (int k = i; k < i + 200; ++k) store->audit({kStart + seconds{k}, "{" + std::to_string(k) + "}"});
    store->flush();
  }
  auto store = open();
  const auto newest = store->audit_trail(1000, std::nullopt).value();
  ASSERT_GE(newest.size(), 300U);
  ASSERT_LT(newest.size(), 600U);
  EXPECT_EQ(newest.front().id, kEntries);
  EXPECT_EQ(newest.front().what.record, "{600}");
  for (std::size_t i = 0; i < newest.size(); ++i) {
    EXPECT_EQ(newest[i].hash, audit_hash(newest[i]));
    if (i + 1 < newest.size()) EXPECT_EQ(newest[i].previous, newest[i + 1].hash);
  }
  auto changed = newest[5];
  changed.what.record = "{x}";
  EXPECT_NE(audit_hash(changed), changed.hash);
  const auto older = store->audit_trail(2, newest[3].id).value();
  ASSERT_EQ(older.size(), 2U);
  EXPECT_EQ(older[0].id, newest[4].id);
}

TEST_F(StateStoreTest, ARunIsReportedWholeAndInEveryField) {
  auto store = open();
  RunRecord run = run_of("web", 7);
  run.instance = 3;
  run.end = kStart + seconds{20};
  run.return_code = -9;
  run.reason = "killed";
  run.max_rss_bytes = 5'000'000'000;
  run.cpu = std::chrono::microseconds{123'456};
  store->record_run(run);
  store->flush();
  const auto found = store->find_run(run.run_id).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->run_id, run.run_id);
  EXPECT_EQ(found->app, "web");
  EXPECT_EQ(found->run_number, 7U);
  EXPECT_EQ(found->instance, 3U);
  EXPECT_EQ(found->pid, 1007);
  EXPECT_EQ(found->start, run.start);
  EXPECT_EQ(found->end, run.end);
  EXPECT_EQ(found->return_code, -9);
  EXPECT_EQ(found->reason, "killed");
  EXPECT_EQ(found->max_rss_bytes, 5'000'000'000U);
  EXPECT_EQ(found->cpu, run.cpu);
  EXPECT_EQ(store->find_run("none").value(), std::nullopt);
}

TEST_F(StateStoreTest, AnExitReportedTwiceIsRecordedOnceAndTheFirstOneStays) {
  auto store = open();
  RunRecord run = run_of("web", 1);
  store->record_run(run);
  RunRecord exited = run;
  exited.start.reset();
  exited.pid = 0;
  exited.end = kStart + seconds{5};
  exited.return_code = 3;
  exited.reason = "exited";
  store->record_run(exited);
  RunRecord again = exited;
  again.end = kStart + seconds{50};
  again.return_code = 99;
  again.reason = "unknown";
  store->record_run(again);
  store->record_run(run);  // a late report of the start does not bring it back to life
  store->flush();
  const auto found = store->runs("web", 10, std::nullopt).value();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].start, run.start);
  EXPECT_EQ(found[0].pid, 1001);
  EXPECT_EQ(found[0].end, exited.end);
  EXPECT_EQ(found[0].return_code, 3);
  EXPECT_EQ(found[0].reason, "exited");
}

TEST_F(StateStoreTest, RunsComeNewestFirstInPages) {
  auto store = open();
  for (const int number : {2, 1, 4, 3, 5}) store->record_run(run_of("web", number));
  store->record_run(run_of("other", 9));
  store->flush();
  const auto numbers = [&](std::size_t limit, std::optional<core::WallTime> before) {
    std::vector<std::uint64_t> found;
    for (const auto& run : store->runs("web", limit, before).value()) found.push_back(run.run_number);
    return found;
  };
  EXPECT_THAT(numbers(2, std::nullopt), ElementsAre(5, 4));
  EXPECT_THAT(numbers(2, kStart + seconds{4}), ElementsAre(3, 2));
  EXPECT_THAT(numbers(1000, kStart + seconds{1}), IsEmpty());
  EXPECT_EQ(store->runs("web", 0, std::nullopt).error().kind, ErrorKind::invalid_argument);
  EXPECT_EQ(store->runs("web", 1001, std::nullopt).error().kind, ErrorKind::invalid_argument);
}

TEST_F(StateStoreTest, HistoryIsBoundedByCountAndARunThatLivesIsKept) {
  auto store = open({.history_per_app = 100});
  const RunRecord living = run_of("web", 0);
  store->record_run(living);
  for (int number = 1; number <= 1000; ++number) {
    RunRecord run = run_of("web", number);
    run.end = run.start;
    store->record_run(run);
  }
  store->flush();
  const auto found = store->runs("web", 1000, std::nullopt).value();
  EXPECT_GE(found.size(), 100U);
  EXPECT_LE(found.size(), 100U + 64U + 1U);
  EXPECT_EQ(found.front().run_number, 1000U);
  EXPECT_EQ(found.back().run_id, living.run_id);
}

TEST_F(StateStoreTest, HistoryIsBoundedByAgeAlsoOfAppsThatNeverRunAgain) {
  auto store = open();
  const auto long_ago = kStart - std::chrono::hours{24 * 100};
  for (int i = 0; i < 50; ++i) {
    RunRecord run = run_of("gone", i);
    run.start = run.end = long_ago;
    store->record_run(run);
  }
  for (int number = 1; number <= 1000; ++number) {
    RunRecord run = run_of("app" + std::to_string(number), number);
    run.end = run.start;
    store->record_run(run);
  }
  store->flush();
  EXPECT_THAT(store->runs("gone", 1000, std::nullopt).value(), IsEmpty());
  EXPECT_EQ(store->runs("app1", 1000, std::nullopt).value().size(), 1U);
}

TEST_F(StateStoreTest, HistoryOfAllAppsTogetherIsBounded) {
  auto store = open({.history_total = 500});
  for (int number = 1; number <= 5000; ++number) {
    RunRecord run = run_of("app" + std::to_string(number), number);
    run.end = run.start;
    store->record_run(run);
  }
  store->flush();
  EXPECT_THAT(store->runs("app1", 1, std::nullopt).value(), IsEmpty());
  EXPECT_THAT(store->runs("app3000", 1, std::nullopt).value(), IsEmpty());
  EXPECT_EQ(store->runs("app5000", 1, std::nullopt).value().size(), 1U);
}

TEST_F(StateStoreTest, RevokedTokensAreKeptUntilTheyExpire) {
  auto store = open();
  const auto now = platform::wall_now();
  store->revoke_token({"soon", now + seconds{10}}, nullptr);
  store->revoke_token({"late", now + seconds{1000}}, nullptr);
  store->revoke_token({"late", now + seconds{500}}, nullptr);
  store->flush();
  store = open();
  EXPECT_EQ(store->load_revoked(now).value().size(), 2U);
  const auto left = store->load_revoked(now + seconds{20}).value();
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left[0].jti, "late");
  EXPECT_EQ(left[0].expires, now + seconds{1000}) << "a shorter time never shortens a revocation";
  store->flush();
  EXPECT_EQ(store->load_revoked(now).value().size(), 1U) << "the expired one is gone for good";
}

TEST_F(StateStoreTest, DonesComeInTheOrderAskedAndAfterTheCommit) {
  auto store = open();
  std::vector<int> order;
  for (int i = 0; i < 1000; ++i) {
    auto done = [&, i](Result<void> outcome) {
      EXPECT_TRUE(outcome);
      order.push_back(i);
      if (i == 500) {
        EXPECT_EQ(store->load_apps().value().empty(), false);
      }
    };
    if (i % 3 == 0) store->save_app({"a", std::to_string(i), ""}, done);
    if (i % 3 == 1) store->record_run(run_of("a", i), done);
    if (i % 3 == 2) store->revoke_token({std::to_string(i), kStart}, done);
  }
  store->flush();
  EXPECT_EQ(order.size(), 1000U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(store->queued(), 0U);
  EXPECT_EQ(store->load_apps().value().at(0).state, "999");
}

std::vector<std::string> apps_of(StateStore& store) {
  std::vector<std::string> found;
  for (const auto& app : store.load_apps().value()) found.push_back(app.name + app.state + app.definition);
  return found;
}

TEST_F(StateStoreTest, WritesOfOneAppInOneCommitLeaveWhatTheyWouldOneByOne) {
  // Long enough for the writes of a step to share a commit, which is only made when flush() hurries it.
  for (const auto delay : {std::chrono::milliseconds{0}, std::chrono::milliseconds{60'000}}) {
    const auto file = dir / ("combined" + std::to_string(delay.count()));
    auto store = StateStore::open(file, {.commit_delay = delay}).value();
    for (const char* name : {"b", "c", "d", "e", "f"}) store->save_app({name, "{0}", "{old}"});
    store->flush();

    store->save_app({"a", "{1}", "{new}"});  // the definition of an earlier save is kept by the later ones
    store->save_app({"a", "{2}", ""});
    store->save_app({"a", "{3}", ""});
    store->save_app({"b", "{4}", ""});  // as is the stored one
    store->save_app({"b", "{5}", ""});
    store->save_app({"c", "{6}", "{new}"});  // a delete takes earlier saves along
    store->delete_app("c");
    store->delete_app("d");  // nothing is kept over a delete
    store->save_app({"d", "{7}", ""});
    store->save_app({"e", "{8}", "{lost}"});  // of all that only what follows the last delete stays
    store->delete_app("e");
    store->save_app({"e", "{9}", "{kept}"});
    store->save_app({"e", "{10}", ""});
    store->delete_app("f");
    store->save_app({"f", "{11}", "{12}"});
    store->delete_app("f");
    store->save_app({"g", "{13}", "{new}"});  // never stored at all
    store->delete_app("g");
    store->flush();
    EXPECT_THAT(apps_of(*store), ElementsAre("a{3}{new}", "b{5}{old}", "d{7}", "e{10}{kept}")) << delay.count();
  }
}

TEST_F(StateStoreTest, EveryDoneOfCombinedWritesIsCalledOnceInOrder) {
  auto store = open({.commit_delay = std::chrono::minutes{1}});
  std::vector<int> order;
  const auto done = [&](int number) {
    return [&order, number](Result<void> outcome) {
      EXPECT_TRUE(outcome);
      order.push_back(number);
    };
  };
  const RunRecord run = run_of("web", 1);
  store->record_run(run, done(0));
  store->save_app({"web", "{1}", "{d}"}, done(1));
  store->record_run(run, done(2));
  store->save_app({"web", "{2}", ""}, done(3));
  store->delete_app("web", done(4));
  store->save_app({"web", "{3}", ""}, done(5));
  store->record_run(run, done(6));
  store->flush();
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(apps_of(*store), ElementsAre("web{3}"));
}

TEST_F(StateStoreTest, ASaveThatIsRefusedLeavesTheOneBeforeItInTheSameCommit) {
  auto store = open({.commit_delay = std::chrono::minutes{1}});
  bool refused = false;
  store->save_app({"a", "{1}", "{d}"});
  store->record_run(run_of("a", 1), [&](Result<void> outcome) { EXPECT_TRUE(outcome); });
  store->save_app({"a", std::string(20'000'000, 'x'), ""}, [&](Result<void> outcome) { refused = !outcome; });
  store->flush();
  EXPECT_TRUE(refused);
  EXPECT_THAT(apps_of(*store), ElementsAre("a{1}{d}"));
}

TEST_F(StateStoreTest, AWriteWithoutHurryIsCommittedWithoutAnythingAfterIt) {
  auto store = open();
  std::promise<void> recorded;
  store->save_app({"a", "{1}", ""});
  store->record_run(run_of("a", 1), [&](Result<void>) { recorded.set_value(); });
  recorded.get_future().wait();
  EXPECT_THAT(apps_of(*store), ElementsAre("a{1}"));
}

TEST_F(StateStoreTest, AnUrgentWriteTakesTheWaitingOnesAlongAtOnce) {
  auto store = open({.commit_delay = std::chrono::hours{24}});  // without hurry the test would never end
  std::vector<std::string> order;
  const auto committed = [&](const std::string& name, auto ask) {
    std::promise<void> done;
    store->record_run(run_of("web", 1), [&](Result<void>) { order.push_back("run"); });
    ask([&](Result<void>) {
      order.push_back(name);
      done.set_value();
    });
    done.get_future().wait();
  };
  committed("save", [&](auto done) { store->save_app({"a", "{1}", ""}, done); });
  committed("delete", [&](auto done) { store->delete_app("a", done); });
  committed("revoke", [&](auto done) { store->revoke_token({"token", platform::wall_now() + seconds{9}}, done); });
  EXPECT_THAT(order, ElementsAre("run", "save", "run", "delete", "run", "revoke"));
  store->save_app({"last", "{2}", ""});
  store = open();  // the close of the store waits for nothing either
  EXPECT_THAT(apps_of(*store), ElementsAre("last{2}"));
}

TEST_F(StateStoreTest, AFullQueueDoesNotWaitForCompany) {
  auto store = open({.commit_delay = std::chrono::hours{24}, .queue_limit = 10});
  for (int i = 0; i < 100; ++i) store->record_run(run_of("web", i));
  store->flush();
  EXPECT_EQ(store->runs("web", 1000, std::nullopt).value().size(), 100U);
}

TEST_F(StateStoreTest, ADoneMayAskForMoreEvenWhenTheQueueIsFull) {
  auto store = open({.queue_limit = 1});
  std::promise<void> finished;
  store->save_app({"a", "1", ""}, [&](Result<void>) {
    for (int i = 0; i < 5; ++i) store->save_app({"b", "2", ""});
    store->save_app({"c", "3", ""}, [&](Result<void>) { finished.set_value(); });
  });
  finished.get_future().wait();
  EXPECT_EQ(store->load_apps().value().size(), 3U);
}

TEST_F(StateStoreTest, AWriteThatCannotBeDoneDoesNotSpoilTheOthers) {
  auto store = open();
  Result<void> large;
  Result<void> small = fail(ErrorKind::internal, "not called");
  store->save_app({"small", "1", ""}, [&](Result<void> done) { small = std::move(done); });
  store->save_app({"large", std::string(20'000'000, 'x'), ""}, [&](Result<void> done) { large = std::move(done); });
  store->flush();
  EXPECT_TRUE(small);
  ASSERT_FALSE(large);
  EXPECT_THAT(large.error().message, HasSubstr("too big"));
  EXPECT_EQ(store->load_apps().value().size(), 1U);
}

TEST_F(StateStoreTest, TheFileIsTheOwnersOnly) {
  auto store = open();
  store->save_app({"a", "1", ""});
  store->flush();
  for (const char* name : {"state.db", "state.db-wal", "state.db-shm"}) {
    struct stat info{};
    ASSERT_EQ(::stat((dir / name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 07777U, 0600U) << name;
  }
}

TEST_F(StateStoreTest, AFileOfSomethingElseOrOfANewerVersionIsRefusedAndLeftAlone) {
  ASSERT_TRUE(platform::write_file_atomic(dir / "state.db", std::string(5000, 'x'), 0600));
  const auto garbage = StateStore::open(dir / "state.db", {});
  ASSERT_FALSE(garbage);
  EXPECT_THAT(garbage.error().message, HasSubstr("state.db"));
  EXPECT_EQ(platform::read_file(dir / "state.db", 10'000).value(), std::string(5000, 'x'));

  sqlite3* raw = nullptr;
  ASSERT_EQ(sqlite3_open((dir / "newer.db").c_str(), &raw), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(raw, "PRAGMA user_version=99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(raw);
  const auto newer = StateStore::open(dir / "newer.db", {});
  ASSERT_FALSE(newer);
  EXPECT_THAT(newer.error().message, HasSubstr("newer version"));
  EXPECT_FALSE(StateStore::open(dir / "no/such/dir/state.db", {}));
}

// Lets no file of this process grow, as a full disk would, as long as it lives.
class FullDisk {
 public:
  FullDisk() {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{.rlim_cur = 1, .rlim_max = before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(StateStoreTest, OnAFullDiskWhoWaitsIsRefusedAndTheRestIsWrittenWhenThereIsRoomAgain) {
  auto store = open({.patience = std::chrono::milliseconds{0}});
  store->flush();
  std::promise<Result<void>> saved;
  std::promise<Result<void>> barrier;
  std::promise<Result<void>> recorded;
  {
    const FullDisk full;
    store->save_app({"web", R"({"v":1})", ""});
    store->record_run(run_of("web", 1), [&](Result<void> done) { recorded.set_value(std::move(done)); });
    store->save_app({"web", R"({"v":2})", ""}, [&](Result<void> done) { saved.set_value(std::move(done)); });
    store->barrier([&](Result<void> done) { barrier.set_value(std::move(done)); });
    const auto refused = saved.get_future().get();
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("state database"));
    EXPECT_FALSE(barrier.get_future().get());
    EXPECT_TRUE(store->trouble());
    store->flush();  // does not wait for a disk that may stay full
  }
  EXPECT_TRUE(recorded.get_future().get());
  EXPECT_FALSE(store->trouble());
  EXPECT_EQ(store->runs("web", 10, std::nullopt).value().size(), 1U);
  const auto apps = store->load_apps().value();
  ASSERT_EQ(apps.size(), 1U);
  EXPECT_EQ(apps[0].state, R"({"v":1})") << "what was refused is not written later";
  store->barrier([](Result<void> done) { EXPECT_TRUE(done); });
}

TEST_F(StateStoreTest, ExitsQueuedWhileTheDiskIsFullAreWrittenWhenThereIsRoomAgain) {
  auto store = open({});
  std::atomic<int> good = 0;
  std::promise<void> all;
  {
    const FullDisk full;
    for (int i = 0; i < 10'000; ++i) {
      store->save_app({"web", std::to_string(i), ""});
      if (i % 100 != 0) continue;
      store->record_run(run_of("web", i / 100), [&](Result<void> done) {
        if (done && ++good == 100) all.set_value();
      });
    }
    ::usleep(600'000);  // two attempts meet the full disk; too short a time would only test less
  }
  all.get_future().get();
  store->flush();
  EXPECT_EQ(store->runs("web", 1000, std::nullopt).value().size(), 100U);
  EXPECT_EQ(store->load_apps().value()[0].state, "9999");
}

TEST_F(StateStoreTest, AWriterKilledAnywhereLosesNothingThatWasAnswered) {
  for (int round = 0; round < 5; ++round) {
    const auto file = dir / ("killed" + std::to_string(round));
    int channel[2];
    ASSERT_EQ(::pipe(channel), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(channel[0]);
      auto store = StateStore::open(file, {}).value();
      for (int i = 0;; ++i) {
        RunRecord run = run_of("web", i % 900);
        run.return_code = i;
        run.end = run.start;
        const std::string id = run.run_id;
        store->save_app({"web", std::to_string(i), ""});
        store->record_run(std::move(run), [=](Result<void> done) {
          if (!done || ::write(channel[1], id.data(), id.size()) != 32) ::_exit(1);
        });
        if (i % 50 == 0) store->revoke_token({id, platform::wall_now() + seconds{1000}}, nullptr);
        if (i % 200 == 199) store->flush();
        if (i == 899) ::pause();
      }
    }
    ::close(channel[1]);
    std::vector<std::string> answered;
    std::string id(32, '\0');
    for (int i = 0; i < 41 + round * 200; ++i) {
      ASSERT_EQ(::read(channel[0], id.data(), 32), 32);
      answered.push_back(id);
    }
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(channel[0], id.data(), 32) == 32) answered.push_back(id);
    ::close(channel[0]);
    auto store = StateStore::open(file, {}).value();
    for (const auto& run_id : answered) {
      const auto found = store->find_run(run_id);
      ASSERT_TRUE(found && *found && (*found)->end) << run_id;
    }
    EXPECT_GE(std::stoul(store->load_apps().value().at(0).state) + 1, answered.size());
  }
}

}  // namespace
}  // namespace appmesh::store

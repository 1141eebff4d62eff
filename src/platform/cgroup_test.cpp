#include "platform/cgroup.h"

#include <sys/inotify.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <signal.h>

#include "platform/file.h"
#include "platform/inotify.h"
#include "platform/mount_info.h"
#include "platform/process.h"
#include "platform/random.h"
#include "platform/test_child.h"
#include "platform/test_directory.h"

namespace appmesh::platform {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

std::string content(const fs::path& path) {
  return read_file(path, 4096).value_or("(no file)");
}

// A tree that is only directories and files: what the kernel would put into a new cgroup is put there by hand.
class FakeTree : public testing::Test {
 protected:
  void mounts(const std::string& table) { ASSERT_TRUE(write_file_atomic(dir / "mountinfo", table, 0600)); }
  void put(const std::string& path, std::string_view text = "") {
    ASSERT_TRUE(make_dirs((dir / path).parent_path(), 0755));
    ASSERT_TRUE(write_file_atomic(dir / path, text, 0600));
  }
  CgroupTree open() {
    return CgroupTree::open({.parent = "appmesh-t", .mountinfo = dir / "mountinfo", .root = dir.path()});
  }
  TestDirectory dir;
};

constexpr auto kUnified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr auto kV1 =
    "31 23 0:28 / /cg/memory rw - cgroup cgroup rw,memory\n"
    "32 31 0:29 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /cg/pids rw - cgroup cgroup rw,pids\n";

TEST_F(FakeTree, SaysWhyWhenNothingIsMounted) {
  mounts("20 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
  const auto tree = open();
  EXPECT_FALSE(tree.is_available());
  EXPECT_EQ(tree.unavailable_reason(), "no cgroup file system is mounted");
  EXPECT_EQ(tree.create("run", CgroupKind::plain).error().kind, ErrorKind::unavailable);
  EXPECT_TRUE(tree.can_limit({}));
  EXPECT_THAT(tree.can_limit({.pids = 1}).error().message, HasSubstr("no cgroup file system"));
}

TEST_F(FakeTree, UnifiedLimitsAreWrittenInTheirOwnUnits) {
  mounts(kUnified);
  put("sys/fs/cgroup/appmesh-t/cgroup.subtree_control", "memory cpu pids");
  auto tree = open();
  // A real kernel keeps what is enabled; a file keeps the last write.
  auto cgroup = tree.create("run", CgroupKind::limited).value();
  for (const char* file : {"memory.max", "memory.swap.max", "cpu.weight", "pids.max"}) {
    put(std::string{"sys/fs/cgroup/appmesh-t/run/"} + file);
  }
  put("sys/fs/cgroup/appmesh-t/run/memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 9\n");
  const auto run = dir / "sys/fs/cgroup/appmesh-t/run";
  ASSERT_TRUE(cgroup.set_limits({.memory_mb = 100, .memory_virt_mb = 150, .cpu_shares = 1024, .pids = 50}));
  EXPECT_EQ(content(run / "memory.max"), "104857600");
  EXPECT_EQ(content(run / "memory.swap.max"), "52428800");
  EXPECT_EQ(content(run / "cpu.weight"), "39");
  EXPECT_EQ(content(run / "pids.max"), "50");
  EXPECT_EQ(cgroup.oom_kills(), 3U);
  ASSERT_TRUE(cgroup.set_limits({.pids = 60}));
  EXPECT_EQ(content(run / "memory.max"), "max");
  EXPECT_EQ(content(run / "memory.swap.max"), "max");
  EXPECT_EQ(content(run / "cpu.weight"), "100");
  EXPECT_EQ(content(run / "pids.max"), "60");
  EXPECT_EQ(cgroup.set_limits({.memory_mb = 10, .memory_virt_mb = 5}).error().kind, ErrorKind::invalid_argument);
}

TEST_F(FakeTree, WithoutAControllerTheLimitIsRefusedByName) {
  mounts(kUnified);
  put("sys/fs/cgroup/cgroup.procs");
  const auto tree = open();
  EXPECT_TRUE(tree.is_available());
  EXPECT_THAT(tree.can_limit({.memory_mb = 5}).error().message, HasSubstr("memory_mb"));
  auto cgroup = tree.create("run", CgroupKind::limited).value();
  const auto refused = cgroup.set_limits({.cpu_shares = 512});
  EXPECT_EQ(refused.error().kind, ErrorKind::unavailable);
  EXPECT_THAT(refused.error().message, HasSubstr("cpu_shares"));
}

TEST_F(FakeTree, FirstVersionAloneMakesTheSameNameInEachController) {
  mounts(kV1);
  auto tree = open();
  ASSERT_TRUE(tree.is_available());
  EXPECT_FALSE(tree.has_v2());
  EXPECT_TRUE(tree.can_limit({.memory_mb = 1, .memory_virt_mb = 2, .cpu_shares = 2, .pids = 1}));
  auto cgroup = tree.create("run", CgroupKind::plain).value();
  EXPECT_EQ(cgroup.directory_fd(), -1);
  for (const char* file : {"cg/memory/appmesh-t/run/cgroup.procs", "cg/cpu,cpuacct/appmesh-t/run/cgroup.procs",
                           "cg/pids/appmesh-t/run/cgroup.procs", "cg/memory/appmesh-t/run/memory.limit_in_bytes",
                           "cg/memory/appmesh-t/run/memory.memsw.limit_in_bytes",
                           "cg/cpu,cpuacct/appmesh-t/run/cpu.shares", "cg/pids/appmesh-t/run/pids.max"}) {
    put(file);
  }
  put("cg/memory/appmesh-t/run/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
  EXPECT_EQ(cgroup.open_v1_procs().value().size(), 3U);
  EXPECT_FALSE(cgroup.is_populated().value());
  ASSERT_TRUE(cgroup.set_limits({.memory_mb = 100, .memory_virt_mb = 150, .cpu_shares = 512, .pids = 50}));
  EXPECT_EQ(content(dir / "cg/memory/appmesh-t/run/memory.limit_in_bytes"), "104857600");
  EXPECT_EQ(content(dir / "cg/memory/appmesh-t/run/memory.memsw.limit_in_bytes"), "157286400");
  EXPECT_EQ(content(dir / "cg/cpu,cpuacct/appmesh-t/run/cpu.shares"), "512");
  EXPECT_EQ(content(dir / "cg/pids/appmesh-t/run/pids.max"), "50");
  EXPECT_EQ(cgroup.oom_kills(), 4U);
}

TEST_F(FakeTree, ANameMayNotLeaveTheParent) {
  mounts(kUnified);
  put("sys/fs/cgroup/cgroup.procs");
  const auto tree = open();
  for (const char* name : {"", ".", "..", ".hidden", "a/b", "a b", "../x"}) {
    EXPECT_EQ(tree.create(name, CgroupKind::plain).error().kind, ErrorKind::invalid_argument) << name;
    EXPECT_FALSE(tree.remove(name)) << name;
  }
}

TEST_F(FakeTree, MountPointsWithSpacesAreDecoded) {
  mounts("1 2 0:1 / /a\\040b rw opt:1 opt:2 - cgroup2 cgroup2 rw\n broken line\n\n");
  const auto table = read_mount_info(dir / "mountinfo").value();
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table[0].point, "/a b");
  EXPECT_EQ(table[0].type, "cgroup2");
}

// The machine's own cgroups, under a parent of this test's own.
class RealTree : public testing::Test {
 protected:
  void SetUp() override {
    if (!tree.is_available() || !tree.has_v2()) GTEST_SKIP() << "no cgroup v2 here: " << tree.unavailable_reason();
  }
  void TearDown() override {
    if (!tree.is_available()) return;
    const auto names = tree.names();
    ASSERT_TRUE(names);
    for (const auto& name : *names) {
      if (auto cgroup = tree.open_existing(name)) {
        (void)cgroup->kill_all();
        wait_until_empty(*cgroup);
      }
      EXPECT_TRUE(tree.remove(name));
    }
    tree.remove_empty_parent();
    EXPECT_FALSE(tree.names()) << "the parent is gone too";
  }
  static void wait_until_empty(const Cgroup& cgroup) {
    auto inotify = Inotify::create().value();
    ASSERT_TRUE(inotify.add_watch(cgroup.events_path(), IN_MODIFY));
    std::array<std::byte, 4096> buffer{};
    for (int i = 0; i < 1000 && cgroup.is_populated().value(); ++i) {
      pollfd wait{.fd = inotify.fd(), .events = POLLIN, .revents = 0};
      ::poll(&wait, 1, 1000);
      (void)inotify.read(buffer);
    }
    EXPECT_FALSE(cgroup.is_populated().value());
  }
  // The program stops itself first, so that nothing of it is forked outside.
  static void enter_stopped(const Cgroup& cgroup, const TestChild& child) {
    int status = 0;
    ASSERT_EQ(::waitpid(child.pid(), &status, WUNTRACED), child.pid());
    ASSERT_TRUE(cgroup.add_process(child.pid()));
    ASSERT_EQ(::kill(child.pid(), SIGCONT), 0);
  }
  const std::string parent = "appmesh-test-" + random_hex(6);
  CgroupTree tree = CgroupTree::open({.parent = parent});
};

TEST_F(RealTree, KillLeavesNoDescendantEvenOfADoubleForkWithSetsid) {
  const auto cgroup = tree.create("run", CgroupKind::plain).value();
  EXPECT_FALSE(cgroup.is_populated().value());
  TestChild child{{"sh", "-c", "kill -STOP $$; (setsid sh -c 'sleep 600 & sleep 600' &) ; exec sleep 600"}};
  enter_stopped(cgroup, child);
  EXPECT_TRUE(cgroup.is_populated().value());
  for (int i = 0; i < 10'000 && cgroup.processes().value().size() < 4; ++i) ::usleep(1000);
  EXPECT_EQ(cgroup.processes().value().size(), 4U) << "three descendants and the process itself";
  ASSERT_TRUE(cgroup.kill_all());
  EXPECT_EQ(WTERMSIG(child.wait()), SIGKILL);
  wait_until_empty(cgroup);
  EXPECT_THAT(cgroup.processes().value(), IsEmpty());
}

TEST_F(RealTree, ASignalReachesEveryMember) {
  const auto cgroup = tree.create("run", CgroupKind::plain).value();
  TestChild first{{"sleep", "600"}};
  TestChild second{{"sleep", "600"}};
  TestChild stranger{{"sleep", "600"}};
  ASSERT_TRUE(cgroup.add_process(first.pid()));
  ASSERT_TRUE(cgroup.add_process(second.pid()));
  EXPECT_EQ(cgroup.signal_all(SIGTERM).value(), 2U);
  EXPECT_EQ(WTERMSIG(first.wait()), SIGTERM);
  EXPECT_EQ(WTERMSIG(second.wait()), SIGTERM);
  EXPECT_FALSE(ProcFs{}.stat(stranger.pid()).value().is_zombie());
}

TEST_F(RealTree, MembersOfNestedCgroupsCount) {
  const auto cgroup = tree.create("run", CgroupKind::plain).value();
  const auto nested = cgroup.events_path().parent_path() / "inner";
  ASSERT_TRUE(make_dirs(nested, 0755));
  TestChild child{{"sleep", "600"}};
  const UniqueFd procs{::open((nested / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
  ASSERT_TRUE(write_all(procs.get(), std::to_string(child.pid())));
  EXPECT_THAT(cgroup.processes().value(), ElementsAre(child.pid()));
  EXPECT_EQ(tree.remove("run").error().kind, ErrorKind::conflict);
  ASSERT_TRUE(cgroup.kill_all());
  EXPECT_EQ(WTERMSIG(child.wait()), SIGKILL);
  wait_until_empty(cgroup);
  EXPECT_TRUE(tree.remove("run"));
  EXPECT_TRUE(tree.remove("run")) << "what is gone is success";
  EXPECT_EQ(tree.open_existing("run").error().kind, ErrorKind::not_found);
}

TEST_F(RealTree, TheSameNameTwiceIsAConflictAndLeavesTheFirst) {
  ASSERT_TRUE(tree.create("run", CgroupKind::limited));
  EXPECT_EQ(tree.create("run", CgroupKind::limited).error().kind, ErrorKind::conflict);
  EXPECT_TRUE(tree.open_existing("run"));
}

TEST_F(RealTree, LimitsThatTheHostCanMakeHold) {
  const CgroupLimits limits{.pids = 3};
  if (const auto can = tree.can_limit(limits); !can) GTEST_SKIP() << can.error().message;
  auto cgroup = tree.create("run", CgroupKind::limited).value();
  ASSERT_TRUE(cgroup.set_limits(limits));
  TestChild child{{"sh", "-c", "kill -STOP $$; sleep 600 & sleep 600 & sleep 600 & sleep 600 & exit 9"}};
  enter_stopped(cgroup, child);
  EXPECT_NE(child.wait(), 0) << "the shell could not fork";
  EXPECT_LE(cgroup.processes().value().size(), 3U);
}

TEST_F(RealTree, ThePoolGivesAnEmptyCgroupAgainAndNeverAPopulatedOne) {
  using Fate = CgroupPool::Fate;
  CgroupPool pool{tree, 1};
  auto first = pool.take().value();
  const std::string name = first.name();
  TestChild child{{"sleep", "600"}};
  ASSERT_TRUE(first.add_process(child.pid()));
  EXPECT_EQ(pool.give_back(tree.open_existing(name).value(), Fate::untouched).error().kind, ErrorKind::conflict);
  ASSERT_EQ(::kill(child.pid(), SIGKILL), 0);
  (void)child.wait();
  wait_until_empty(first);
  ASSERT_TRUE(pool.give_back(std::move(first), Fate::untouched));
  EXPECT_EQ(pool.size(), 1U);
  auto again = pool.take().value();
  EXPECT_EQ(again.name(), name);
  auto other = pool.take().value();
  EXPECT_NE(other.name(), name);
  ASSERT_TRUE(pool.give_back(std::move(again), Fate::untouched));
  ASSERT_TRUE(pool.give_back(std::move(other), Fate::untouched));
  EXPECT_EQ(pool.size(), 1U) << "over its capacity the pool removes";
  EXPECT_THAT(tree.names().value(), ElementsAre(name));
  pool.clear();
  EXPECT_THAT(tree.names().value(), IsEmpty());
}

TEST_F(RealTree, ThePoolNeverGivesOneThatSomebodyElseHasRemoved) {
  using Fate = CgroupPool::Fate;
  CgroupPool pool{tree, 8};
  auto first = pool.take().value();
  auto second = pool.take().value();
  const std::string removed = first.name();
  ASSERT_TRUE(pool.give_back(std::move(second), Fate::untouched));
  ASSERT_TRUE(pool.give_back(std::move(first), Fate::untouched));
  ASSERT_TRUE(tree.remove(removed));
  auto again = pool.take().value();
  EXPECT_NE(again.name(), removed);
  EXPECT_TRUE(again.exists());
  EXPECT_TRUE(pool.take().value().exists()) << "made when none is left";
}

TEST_F(RealTree, RunsOfAnOlderDaemonAreFoundAndRemovedInItsDirectory) {
  const auto made = tree.create("of-before", CgroupKind::plain);
  ASSERT_TRUE(made);
  const auto newer = CgroupTree::open({.parent = parent + "-newer", .older_parent = parent});
  ASSERT_TRUE(newer.is_available());
  EXPECT_TRUE(newer.open_existing("of-before"));
  EXPECT_EQ(newer.open_existing("of-nobody").error().kind, ErrorKind::not_found);
  EXPECT_THAT(newer.names().value(), IsEmpty()) << "what is stray there may be another daemon's";
  const auto own = newer.create("of-now", CgroupKind::plain);
  ASSERT_TRUE(own);
  EXPECT_FALSE(tree.open_existing("of-now"));
  EXPECT_TRUE(newer.remove("of-now"));
  EXPECT_TRUE(newer.remove("of-before"));
  EXPECT_FALSE(tree.open_existing("of-before"));
  newer.remove_empty_parent();
}

TEST_F(RealTree, ThePoolNeverGivesOneAgainThatWasKilledOrHasAnUnknownPast) {
  using Fate = CgroupPool::Fate;
  CgroupPool pool{tree, 8};
  auto killed = pool.take().value();
  ASSERT_TRUE(killed.kill_all());
  ASSERT_TRUE(pool.give_back(std::move(killed), Fate::killed));
  auto inherited = tree.create("of-an-earlier-daemon", CgroupKind::plain).value();
  ASSERT_TRUE(pool.give_back(std::move(inherited), Fate::untouched));
  EXPECT_EQ(pool.size(), 0U);
  EXPECT_THAT(tree.names().value(), IsEmpty());
}

}  // namespace
}  // namespace appmesh::platform

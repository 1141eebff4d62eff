// The life of runs and connections: exits, forgetting, signals, bad messages, many runs.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>

#include "keeper/keeper_harness.h"

namespace appmesh::keeper::test {
namespace {

using testing::HasSubstr;

using Runs = KeeperTest;
using Connections = KeeperTest;
using Signals = KeeperTest;

SpawnOptions shell(std::uint32_t id, const std::string& command) {
  return {.id = make_id(id), .arguments = {"/bin/sh", "-c", command}};
}

TEST_F(Runs, exit_with_status_or_signal_and_resource_use) {
  Client client(home_);
  client.spawned(shell(1, "exit 41"));
  client.spawned(shell(2, "kill -KILL $$"));
  client.spawned(shell(3, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"));
  EXPECT_EQ(WEXITSTATUS(client.wait_exit(make_id(1)).exit.wait_status), 41);
  const Exited killed = client.wait_exit(make_id(2));
  EXPECT_TRUE(WIFSIGNALED(killed.exit.wait_status));
  EXPECT_EQ(WTERMSIG(killed.exit.wait_status), SIGKILL);
  EXPECT_EQ(killed.flags & kExitUnknown, 0U);
  const Exited busy = client.wait_exit(make_id(3));
  EXPECT_GT(busy.exit.user_us + busy.exit.system_us, 0U);
  EXPECT_GT(busy.exit.max_rss_kb, 0U);
  EXPECT_GT(busy.exit.exited_us, 0);
}

TEST_F(Runs, wait_in_the_table_over_reconnects_until_forgotten) {
  Exited exit{};
  {
    Client client(home_);
    client.spawned(shell(1, "exit 5"));
    exit = client.wait_exit(make_id(1));
  }
  for (int i = 0; i < 2; ++i) {
    Client client(home_);
    const auto run = client.find(make_id(1));
    ASSERT_TRUE(run.has_value());
    EXPECT_EQ(run->state, RunState::exited);
    EXPECT_EQ(std::memcmp(&run->exit, &exit.exit, sizeof(Exit)), 0);
  }
  Client client(home_);
  EXPECT_EQ(client.forget(make_id(1)).type(), MessageType::done);
  EXPECT_EQ(as_error(client.forget(make_id(1))).error, ESRCH);
  EXPECT_TRUE(client.list().empty());
}

TEST_F(Runs, that_end_while_nobody_is_connected_are_listed_later) {
  pid_t pid = 0;
  {
    Client client(home_);
    pid = client.spawned(shell(1, "read line; exit 6")).pid;  // stdin is /dev/null: ends at once
  }
  ASSERT_TRUE(eventually([&] { return !alive(pid); }));
  Client client(home_);
  EXPECT_TRUE(eventually([&] { return client.find(make_id(1))->state == RunState::exited; }));
  EXPECT_EQ(WEXITSTATUS(client.find(make_id(1))->exit.wait_status), 6);
}

TEST_F(Runs, that_live_cannot_be_forgotten) {
  Client client(home_);
  client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
  EXPECT_EQ(as_error(client.forget(make_id(1))).error, EBUSY);
}

TEST_F(Runs, may_be_1500_and_are_all_listed_without_more_descriptors) {
  Client client(home_);
  const std::size_t before = descriptors_of(keeper_);
  for (std::uint32_t i = 1; i <= 1500; ++i) {
    client.spawned({.id = make_id(i), .arguments = {"/bin/true"}, .tag = std::string(kMaxTagBytes, 't')});
  }
  for (std::uint32_t i = 1; i <= 1500; ++i) client.wait_exit(make_id(i));
  EXPECT_EQ(client.list().size(), 1500U);
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
  for (std::uint32_t i = 1; i <= 1500; ++i) ASSERT_EQ(client.forget(make_id(i)).type(), MessageType::done);
  EXPECT_TRUE(client.list().empty());
}

TEST_F(Runs, exits_are_not_lost_when_the_daemon_does_not_read) {
  Client client(home_);
  constexpr std::uint32_t kRuns = 1200;
  for (std::uint32_t i = 1; i <= kRuns; ++i) {  // asked for without reading one answer, as many as may be under way
    const auto bytes = pack(shell(i, "exit 3"), client.next_request());
    client.send(bytes.data(), bytes.size());
    if (i % 30 == 0) {
      for (int n = 0; n < 30; ++n) {
        Message message = client.receive();
        if (message.type() == MessageType::exited) --n;
      }
    }
  }
  std::size_t exits = 0;
  EXPECT_TRUE(eventually([&] {
    exits = 0;
    for (const auto& [run, tag] : client.list())
      exits += run.state == RunState::exited && WEXITSTATUS(run.exit.wait_status) == 3;
    return exits == kRuns;
  })) << exits;
}

TEST_F(Runs, orphans_of_runs_are_reaped) {
  Client client(home_);
  // The middle process ends at once, so the last one becomes the keeper's child.
  const std::string path = (home_ / "orphan").string();
  client.spawned(shell(1, "(sh -c 'echo $$ >" + path + "; exec sleep 0.2' &) ; exit 0"));
  client.wait_exit(make_id(1));
  ASSERT_TRUE(eventually([&] { return !read_file("orphan").empty(); }));
  const pid_t orphan = std::stoi(read_file("orphan"));
  EXPECT_TRUE(eventually([&] { return ::kill(orphan, 0) != 0 && errno == ESRCH; })) << "a zombie was left";
}

TEST_F(Signals, reach_the_process_or_its_group) {
  Client client(home_);
  const std::string path = (home_ / "child").string();
  client.spawned(shell(1, "trap 'exit 9' TERM; sleep 100 & echo $! >" + path + "; wait"));
  ASSERT_TRUE(eventually([&] { return !read_file("child").empty(); }));
  const pid_t sleeper = std::stoi(read_file("child"));
  client.signal(make_id(1), SignalScope::process, SIGTERM).as<Done>(MessageType::done);
  EXPECT_EQ(WEXITSTATUS(client.wait_exit(make_id(1)).exit.wait_status), 9);
  EXPECT_TRUE(alive(sleeper));
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::group, SIGTERM)).error, ESRCH);

  client.spawned(shell(2, "sleep 100 & echo $! >" + path + "2; wait"));
  ASSERT_TRUE(eventually([&] { return !read_file("child2").empty(); }));
  const pid_t second = std::stoi(read_file("child2"));
  client.signal(make_id(2), SignalScope::group, SIGTERM).as<Done>(MessageType::done);
  EXPECT_EQ(WTERMSIG(client.wait_exit(make_id(2)).exit.wait_status), SIGTERM);
  EXPECT_TRUE(eventually([&] { return !alive(second); }));
}

TEST_F(Signals, that_make_no_sense_are_refused) {
  Client client(home_);
  EXPECT_EQ(as_error(client.signal(make_id(9), SignalScope::process, SIGTERM)).error, ESRCH);
  client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::process, 9999)).error, EINVAL);
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope{77}, SIGTERM)).error, EINVAL);
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::cgroup, SIGTERM)).error, EINVAL);
  const Descriptor directory{::open("/tmp", O_PATH | O_CLOEXEC)};
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::cgroup, SIGTERM, {directory.get()})).error, EINVAL);
  EXPECT_EQ(client.signal(make_id(1), SignalScope::process, 0).type(), MessageType::done);
}

// A cgroup in each hierarchy of this host that allows it, v2 and v1.
class Cgroups : public KeeperTest {
 protected:
  std::filesystem::path make_cgroup(const std::string& wanted_type, const std::string& below) {
    std::ifstream mounts("/proc/mounts");
    std::string device, where, type, rest;
    while (mounts >> device >> where >> type && std::getline(mounts, rest)) {
      if (type != wanted_type || rest.find(below) == std::string::npos) continue;
      const auto path = std::filesystem::path(where) / ("keeper_test_" + std::to_string(::getpid()));
      std::error_code error;
      if (std::filesystem::create_directory(path, error)) {
        made_.push_back(path);
        return path;
      }
    }
    return {};
  }

  void TearDown() override {
    KeeperTest::TearDown();
    for (const auto& path : made_) EXPECT_TRUE(eventually([&] { return ::rmdir(path.c_str()) == 0; })) << path;
  }

  // A run whose grandchild did setsid and a double fork; gives the pid of the grandchild.
  pid_t start_tree(Client& client, SpawnOptions options) {
    const std::string path = (home_ / "grandchild").string();
    std::filesystem::remove(path);
    options.arguments = {
        "/bin/sh", "-c",
        "(setsid sh -c '(trap : USR1; echo $$ >" + path + "; while :; do sleep 100; done) &' &); sleep 100"};
    client.spawned(options);
    EXPECT_TRUE(eventually([&] { return !read_file("grandchild").empty(); }));
    const std::string pids = read_file("grandchild");
    return pids.empty() ? -1 : std::stoi(pids);
  }

  static std::size_t count(const std::filesystem::path& cgroup) {
    std::ifstream file(cgroup / "cgroup.procs");
    std::size_t found = 0;
    for (pid_t pid = 0; file >> pid;) ++found;
    return found;
  }

 private:
  std::vector<std::filesystem::path> made_;
};

TEST_F(Cgroups, of_version_2_hold_a_run_from_birth_and_die_as_a_whole) {
  const auto cgroup = make_cgroup("cgroup2", "");
  if (cgroup.empty()) GTEST_SKIP() << "no writable cgroup2 mount";
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  Client client(home_);
  start_tree(client, {.id = make_id(1), .flags = kFlagCgroup, .descriptors = {directory.get()}});
  EXPECT_GE(count(cgroup), 3U);
  EXPECT_GE(
      client.signal(make_id(1), SignalScope::cgroup, SIGKILL, {directory.get()}).as<Done>(MessageType::done).count, 3U);
  EXPECT_EQ(WTERMSIG(client.wait_exit(make_id(1)).exit.wait_status), SIGKILL);
  EXPECT_TRUE(eventually([&] { return count(cgroup) == 0; }));
}

TEST_F(Cgroups, get_other_signals_process_by_process) {
  const auto cgroup = make_cgroup("cgroup2", "");
  if (cgroup.empty()) GTEST_SKIP() << "no writable cgroup2 mount";
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  Client client(home_);
  const std::size_t before = descriptors_of(keeper_);
  start_tree(client, {.id = make_id(1), .flags = kFlagCgroup, .descriptors = {directory.get()}});
  client.signal(make_id(1), SignalScope::cgroup, SIGTERM, {directory.get()}).as<Done>(MessageType::done);
  EXPECT_EQ(WTERMSIG(client.wait_exit(make_id(1)).exit.wait_status), SIGTERM);
  EXPECT_TRUE(eventually([&] { return count(cgroup) == 0; }));
  EXPECT_EQ(
      client.signal(make_id(1), SignalScope::cgroup, SIGTERM, {directory.get()}).as<Done>(MessageType::done).count, 0U);
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
}

TEST_F(Cgroups, of_version_1_are_entered_before_exec_and_emptied_by_kill) {
  const auto cgroup = make_cgroup("cgroup", "pids");
  if (cgroup.empty()) GTEST_SKIP() << "no writable v1 pids controller";
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  const Descriptor tasks{::open((cgroup / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC)};
  Client client(home_);
  start_tree(client, {.id = make_id(1), .cgroup_tasks = 1, .descriptors = {tasks.get()}});
  EXPECT_GE(count(cgroup), 3U);
  EXPECT_GE(
      client.signal(make_id(1), SignalScope::cgroup, SIGKILL, {directory.get()}).as<Done>(MessageType::done).count, 3U);
  client.wait_exit(make_id(1));
  EXPECT_TRUE(eventually([&] { return count(cgroup) == 0; }));
}

TEST_F(Cgroups, that_are_gone_make_the_spawn_fail_at_that_step) {
  const auto cgroup = make_cgroup("cgroup2", "");
  if (cgroup.empty()) GTEST_SKIP() << "no writable cgroup2 mount";
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  ASSERT_EQ(::rmdir(cgroup.c_str()), 0);
  Client client(home_);
  const SpawnFailed failed = client.spawn_failure(
      {.id = make_id(1), .arguments = {"true"}, .flags = kFlagCgroup, .descriptors = {directory.get()}});
  EXPECT_EQ(failed.step, SpawnStep::cgroup);
  EXPECT_THAT(failed.error, testing::AnyOf(ENODEV, ENOENT));
  ASSERT_TRUE(std::filesystem::create_directory(cgroup));
}

TEST_F(Cgroups, with_the_keeper_inside_are_not_signalled) {
  const auto cgroup = make_cgroup("cgroup2", "");
  if (cgroup.empty()) GTEST_SKIP() << "no writable cgroup2 mount";
  std::ofstream(cgroup / "cgroup.procs") << keeper_ << std::flush;
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  Client client(home_);
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::cgroup, SIGKILL, {directory.get()})).error, EPERM);
}

TEST_F(Connections, start_with_hello) {
  Client client(home_, false);
  EXPECT_EQ(as_error(client.spawn(shell(1, "exit 0"))).error, EPROTO);
  const HelloReply reply = client.hello();
  EXPECT_EQ(reply.version, kProtocolVersion);
  EXPECT_EQ(reply.pid, keeper_);
  EXPECT_EQ(reply.slots_capacity, kSlotCapacity);
  EXPECT_EQ(reply.generation, 1U);
  EXPECT_EQ(std::strlen(reply.boot_id), 36U);
}

TEST_F(Connections, that_are_newer_replace_the_older) {
  Client older(home_);
  older.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
  Client newer(home_);
  EXPECT_TRUE(older.closed());
  ASSERT_TRUE(newer.find(make_id(1)).has_value());
  newer.signal(make_id(1), SignalScope::process, SIGKILL);
  newer.wait_exit(make_id(1));
}

TEST_F(Connections, of_another_uid_are_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Client client(home_);
  const auto run = home_ / "run";
  ::chmod(home_.c_str(), 0755);
  ::chmod(run.c_str(), 0755);
  ::chmod((run / kSocketName).c_str(), 0666);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s", (run / kSocketName).c_str());
  const pid_t stranger = ::fork();
  if (stranger == 0) {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0)
      ::_exit(10);
    const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (socket < 0 || ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(11);
    char byte = 0;
    ::_exit(::recv(socket, &byte, 1, 0) <= 0 ? 0 : 12);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(stranger, &status, 0), stranger);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(client.list().empty()) << "the connection that was there goes on";
  EXPECT_THAT(read_file("run/keeper.log"), HasSubstr("refused a connection from uid 65534"));
}

TEST_F(Connections, survive_malformed_and_truncated_messages) {
  Client client(home_);
  const std::size_t before = descriptors_of(keeper_);
  std::vector<std::byte> good = pack(shell(1, "exit 0"), 4711);
  const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};

  for (std::size_t size = 1; size < good.size(); size += 3) {
    auto cut = std::vector(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    if (size >= sizeof(Header)) reinterpret_cast<Header*>(cut.data())->size = static_cast<std::uint32_t>(size);
    client.send(cut.data(), cut.size(), {null.get()});
    as_error(client.receive());
  }
  for (const std::uint32_t type : {0U, 11U, 64U, 129U, 65535U}) {
    Request request{};
    request.header = {.type = static_cast<MessageType>(type), .reserved = 0, .size = sizeof request, .request_id = 1};
    client.send(&request, sizeof request);
    EXPECT_EQ(as_error(client.receive()).error, EOPNOTSUPP);
  }
  client.send(good.data(), good.size(), std::vector<int>(50, null.get()));
  EXPECT_EQ(as_error(client.receive()).error, E2BIG);
  client.send(good.data(), good.size(), {null.get()});
  EXPECT_EQ(as_error(client.receive()).error, EBADMSG);
  reinterpret_cast<Header*>(good.data())->request_id = 0;
  client.send(good.data(), good.size());
  EXPECT_EQ(as_error(client.receive()).error, EINVAL);
  EXPECT_TRUE(client.list().empty());
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
}

TEST_F(Connections, survive_random_changes_to_good_messages) {
  Client client(home_);
  std::mt19937 random(12345);
  SpawnOptions options = shell(1, "exit 0");
  options.tag = "tag";
  options.rlimits = {{.resource = 4, .soft = 0, .hard = 0}};
  const auto good = pack(options, 1);
  for (int i = 0; i < 3000; ++i) {
    auto bad = good;
    // Beyond the header, whose size has to fit for the rest to be looked at; the flags cannot make it switch users.
    for (std::uint32_t n = 1 + random() % 4; n > 0; --n) {
      bad[sizeof(Header) + 28 + random() % (sizeof(Spawn) - sizeof(Header) - 28)] = static_cast<std::byte>(random());
    }
    client.send(bad.data(), bad.size());
    const Message answer = client.answer(1);
    ASSERT_FALSE(answer.bytes.empty());
    if (answer.type() == MessageType::spawned) {
      client.wait_exit(options.id);
      client.forget(options.id);
    }
  }
  EXPECT_TRUE(client.list().empty());
}

}  // namespace
}  // namespace appmesh::keeper::test

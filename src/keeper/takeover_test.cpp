// The keeper's own life: adoption, re-exec in place, kill -9 and takeover from the journal, start and end.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <spawn.h>

#include "keeper/keeper_harness.h"

namespace appmesh::keeper::test {
namespace {

using testing::HasSubstr;

using Adoption = KeeperTest;
using Reexecution = KeeperTest;
using Takeover = KeeperTest;
using Program = KeeperTest;

SpawnOptions shell(std::uint32_t id, const std::string& command) {
  return {.id = make_id(id), .arguments = {"/bin/sh", "-c", command}};
}

pid_t start_stranger() {
  const pid_t pid = ::fork();
  if (pid == 0) {
    for (;;) ::pause();
  }
  return pid;
}

int run_program(const std::vector<std::string>& words) {
  std::vector<std::string> copy{APPKEEPER_PATH};
  copy.insert(copy.end(), words.begin(), words.end());
  std::vector<char*> arguments;
  arguments.reserve(copy.size() + 1);
  for (auto& word : copy) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  EXPECT_EQ(::posix_spawn(&pid, copy[0].c_str(), &actions, nullptr, arguments.data(), environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  int status = -1;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WEXITSTATUS(status);
}

TEST_F(Adoption, watches_and_signals_a_stranger_and_does_not_know_how_it_ended) {
  Client client(home_);
  const pid_t pid = start_stranger();
  const Started adopted = client.adopt(make_id(1), pid, start_ticks_of(pid), "tag").as<Started>(MessageType::adopted);
  EXPECT_EQ(adopted.pid, pid);
  EXPECT_EQ(adopted.start_ticks, start_ticks_of(pid));
  const auto runs = client.list();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].second, "tag");
  EXPECT_EQ(runs[0].first.flags, kRunAdopted);
  EXPECT_EQ(as_error(client.signal(make_id(1), SignalScope::group, SIGKILL)).error, EINVAL) << "it leads no group";
  client.signal(make_id(1), SignalScope::process, SIGKILL).as<Done>(MessageType::done);
  EXPECT_EQ(client.wait_exit(make_id(1)).flags, kRunAdopted | kExitUnknown);
}

TEST_F(Adoption, refuses_what_is_not_there_or_taken) {
  Client client(home_);
  const pid_t pid = start_stranger();
  EXPECT_EQ(as_error(client.adopt(make_id(1), pid, start_ticks_of(pid) + 1)).error, ESRCH);
  EXPECT_EQ(as_error(client.adopt(make_id(1), 1, 0)).error, EINVAL);
  EXPECT_EQ(as_error(client.adopt(make_id(1), keeper_, 0)).error, EINVAL);
  EXPECT_EQ(client.adopt(make_id(1), pid, 0).type(), MessageType::adopted);
  EXPECT_EQ(as_error(client.adopt(make_id(1), ::getpid(), 0)).error, EEXIST);
  EXPECT_EQ(as_error(client.adopt(make_id(2), pid, 0)).error, EEXIST);
  ::kill(pid, SIGKILL);
  client.wait_exit(make_id(1));
  ::waitpid(pid, nullptr, 0);
  EXPECT_EQ(as_error(client.adopt(make_id(2), pid, 0)).error, ESRCH);
}

TEST_F(Reexecution, keeps_children_connection_and_exit_codes) {
  Client client(home_);
  const pid_t stranger = start_stranger();
  client.adopt(make_id(9), stranger, 0);
  const std::string ready = (home_ / "ready").string();
  const Started first = client.spawned(shell(1, "trap 'exit 21' TERM; : >" + ready + "; while :; do sleep 0.01; done"));
  client.spawned(shell(2, "exit 22"));
  client.wait_exit(make_id(2));
  const std::size_t before = descriptors_of(keeper_);
  Reexec request{};
  request.header.type = MessageType::reexec;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client.ask(request).as<Done>(MessageType::done).count, 2U);
    const HelloReply reply = client.hello();
    EXPECT_EQ(reply.pid, keeper_);
    EXPECT_EQ(reply.generation, 1U);
  }
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
  EXPECT_EQ(client.find(make_id(1))->pid, first.pid);
  EXPECT_EQ(client.find(make_id(1))->flags, 0U);
  ASSERT_TRUE(eventually([&]() -> bool { return std::filesystem::exists(ready); })) << "its trap is set";
  client.signal(make_id(1), SignalScope::process, SIGTERM);
  EXPECT_EQ(WEXITSTATUS(client.wait_exit(make_id(1)).exit.wait_status), 21);
  EXPECT_EQ(WEXITSTATUS(client.find(make_id(2))->exit.wait_status), 22);
  ::kill(stranger, SIGKILL);
  EXPECT_EQ(client.wait_exit(make_id(9)).flags, kRunAdopted | kExitUnknown);
  EXPECT_EQ(client.spawn(shell(3, "exit 0")).type(), MessageType::spawned);
}

TEST_F(Reexecution, goes_on_with_the_program_that_is_passed) {
  Client client(home_);
  client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
  std::filesystem::copy_file(APPKEEPER_PATH, home_ / "newer");
  const Descriptor program{::open((home_ / "newer").c_str(), O_RDONLY | O_CLOEXEC)};
  Reexec request{};
  request.header.type = MessageType::reexec;
  EXPECT_EQ(client.ask(request, {program.get()}).as<Done>(MessageType::done).count, 1U);
  EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(keeper_) + "/exe"), home_ / "newer");
  const Descriptor text{::open("/etc/passwd", O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(as_error(client.ask(request, {text.get()})).error, EACCES);
  EXPECT_TRUE(client.find(make_id(1)).has_value()) << "a program that cannot be executed changes nothing";
}

TEST_F(Takeover, finds_living_and_ended_runs_after_kill_9) {
  pid_t living = 0;
  {
    Client client(home_);
    living = client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}, .tag = "one"}).pid;
    client.spawned(shell(2, "exit 4"));
    client.wait_exit(make_id(2));
    const pid_t dying = client.spawned({.id = make_id(3), .arguments = {"sleep", "100"}}).pid;
    kill_keeper(SIGKILL);
    ::kill(dying, SIGKILL);
    ASSERT_TRUE(eventually([&] { return !alive(dying); }));
  }
  start_keeper();
  Client client(home_);
  EXPECT_EQ(client.hello().generation, 2U);
  const auto runs = client.list();
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[0].second, "one");
  EXPECT_EQ(runs[0].first.pid, living);
  EXPECT_EQ(runs[0].first.state, RunState::running);
  EXPECT_EQ(runs[0].first.flags, kRunAdopted);
  EXPECT_EQ(WEXITSTATUS(runs[1].first.exit.wait_status), 4) << "an exit that was written is never lost";
  EXPECT_EQ(runs[1].first.flags, 0U);
  EXPECT_EQ(runs[2].first.state, RunState::exited);
  EXPECT_EQ(runs[2].first.flags & kExitUnknown, kExitUnknown);
  EXPECT_EQ(as_error(client.spawn({.id = make_id(1), .arguments = {"true"}})).error, EEXIST);

  client.signal(make_id(1), SignalScope::group, SIGTERM).as<Done>(MessageType::done);
  EXPECT_EQ(client.wait_exit(make_id(1)).flags & kExitUnknown, kExitUnknown);
  EXPECT_TRUE(eventually([&] { return !alive(living); }));
  for (std::uint32_t i = 1; i <= 3; ++i) EXPECT_EQ(client.forget(make_id(i)).type(), MessageType::done);
}

TEST_F(Takeover, of_a_journal_of_an_earlier_boot_knows_that_nothing_lives) {
  pid_t pid = 0;
  {
    Client client(home_);
    pid = client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}}).pid;
  }
  kill_keeper(SIGKILL);
  {
    std::fstream journal(home_ / "run" / kJournalName, std::ios::in | std::ios::out | std::ios::binary);
    std::string head(256, '\0');
    journal.read(head.data(), 256);
    const std::string boot = [] {
      std::string line;
      std::ifstream("/proc/sys/kernel/random/boot_id") >> line;
      return line;
    }();
    const auto at = head.find(boot);
    ASSERT_NE(at, std::string::npos);
    journal.seekp(static_cast<std::streamoff>(at));
    journal.put(boot[0] == '0' ? '1' : '0');
  }
  start_keeper();
  Client client(home_);
  EXPECT_EQ(client.find(make_id(1))->state, RunState::exited);
  EXPECT_EQ(client.find(make_id(1))->flags & kExitUnknown, kExitUnknown);
  EXPECT_TRUE(alive(pid)) << "and touches nobody who has the pid now";
}

// Whatever instant kill -9 hits: every run that has written its line is in the table of the next keeper, and none runs
// that is not.
TEST_F(Takeover, after_kill_9_at_random_instants_accounts_for_every_process) {
  std::mt19937 random(4711);
  std::uint32_t next_id = 1;
  const std::string log = (home_ / "lines").string();
  for (int round = 0; round < 25; ++round) {
    std::set<std::uint32_t> asked;
    {
      Client client(home_);
      std::thread killer([&, wait = random() % 12000] {
        std::this_thread::sleep_for(std::chrono::microseconds(wait));
        ::kill(keeper_, SIGKILL);
      });
      for (;;) {
        SpawnOptions options = shell(next_id, "echo " + std::to_string(next_id) + " >>" + log + "; exec sleep 100");
        asked.insert(next_id++);
        if (client.spawn(options).bytes.empty()) break;
        if (asked.size() == 40) break;
      }
      killer.join();
    }
    ASSERT_EQ(::waitpid(keeper_, nullptr, 0), keeper_);
    start_keeper();
    Client client(home_);
    std::set<std::uint32_t> listed;
    for (const auto& [run, tag] : client.list()) {
      std::uint32_t id = 0;
      std::memcpy(&id, run.run_id.bytes, sizeof id);
      EXPECT_TRUE(asked.contains(id));
      listed.insert(id);
      if (run.state == RunState::running) {
        client.signal(run.run_id, SignalScope::group, SIGKILL).as<Done>(MessageType::done);
        EXPECT_EQ(client.wait_exit(run.run_id).pid, run.pid);
      }
      EXPECT_EQ(client.forget(run.run_id).type(), MessageType::done);
    }
    std::ifstream lines(log);
    for (std::uint32_t id = 0; lines >> id;) {
      if (asked.contains(id)) EXPECT_TRUE(listed.contains(id)) << "run " << id << " ran but is unknown";
    }
    for (;;) {  // the killed keeper's children are ours; all of them have to be gone by now or to go
      const pid_t child = ::waitpid(-1, nullptr, WNOHANG);
      if (child <= 0) break;
    }
  }
  std::set<std::uint32_t> seen;
  std::ifstream lines(log);
  for (std::uint32_t id = 0; lines >> id;) EXPECT_TRUE(seen.insert(id).second) << id << " ran twice";
}

TEST_F(Program, refuses_a_home_that_another_keeper_has) {
  EXPECT_EQ(run_program({"--home", home_.string()}), 2);
  EXPECT_EQ(run_program({"--home", home_.string(), "--detach"}), 2);
  EXPECT_TRUE(Client(home_).list().empty());
}

TEST_F(Program, explains_itself) {
  EXPECT_EQ(run_program({"--version"}), 0);
  EXPECT_EQ(run_program({"--help"}), 0);
  EXPECT_EQ(run_program({}), 64);
  EXPECT_EQ(run_program({"--home"}), 64);
  EXPECT_EQ(run_program({"--home", "/no/such/home"}), 1);
}

TEST_F(Program, ends_at_sigterm_only_when_no_run_lives) {
  {
    Client client(home_);
    client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
    ::kill(keeper_, SIGHUP);
    ::kill(keeper_, SIGINT);
    ::kill(keeper_, SIGTERM);
    EXPECT_TRUE(
        eventually([&] { return read_file("run/keeper.log").find("1 runs live: staying") != std::string::npos; }));
    client.signal(make_id(1), SignalScope::process, SIGKILL);
    client.wait_exit(make_id(1));
    EXPECT_EQ(client.list().size(), 1U);
  }
  kill_keeper(SIGTERM);
  EXPECT_FALSE(std::filesystem::exists(home_ / "run" / kSocketName));
  start_keeper();
  EXPECT_EQ(Client(home_).list().size(), 1U) << "what has not been forgotten stays";
}

TEST_F(Program, bounds_its_log_and_makes_it_anew_where_it_was_moved_away) {
  Client client(home_);
  client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}});
  const auto says = [&](const char* file) {
    return [this, file] { return read_file(file).find("asked to end by pid") != std::string::npos; };
  };
  std::filesystem::rename(home_ / "run/keeper.log", home_ / "run/moved");
  ::kill(keeper_, SIGTERM);
  EXPECT_TRUE(eventually(says("run/keeper.log")));
  std::ofstream(home_ / "run/keeper.log", std::ios::app) << std::string(1024 * 1024, '.') << '\n';
  ::kill(keeper_, SIGTERM);
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(home_ / "run/keeper.log.1"); }));
  EXPECT_TRUE(eventually(says("run/keeper.log")));
  EXPECT_LT(std::filesystem::file_size(home_ / "run/keeper.log"), 1000U);
  EXPECT_TRUE(says("run/keeper.log.1")());
}

TEST_F(Program, starts_alike_from_any_state) {
  kill_keeper(SIGTERM);
  start_keeper([] {
    sigset_t every;
    ::sigfillset(&every);
    ::sigprocmask(SIG_SETMASK, &every, nullptr);
    for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
    for (int i = 5; i < 40; ++i) ::dup2(0, i);
    for (int i = 0; i < 3; ++i) ::close(i);
    ::umask(0777);
    const rlimit few{.rlim_cur = 40, .rlim_max = 1000}, small{.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    ::setrlimit(RLIMIT_NOFILE, &few);
    ::setrlimit(RLIMIT_FSIZE, &small);
  });
  Client client(home_);
  const std::size_t own = descriptors_of(keeper_);
  EXPECT_LT(own, 12U) << "those of whoever started it are closed";
  EXPECT_EQ(
      output_of(client, {.id = make_id(1), .arguments = {"/bin/sh", "-c", "umask; ulimit -Sn; ulimit -Hn; ulimit -f"}}),
      "0022\n40\n1000\n8\n");
  EXPECT_THAT(output_of(client, {.id = make_id(2), .arguments = {"grep", "^Sig[BI]", "/proc/self/status"}}),
              HasSubstr("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
  for (std::uint32_t i = 10; i < 80; ++i)  // more descriptors, and a larger journal, than the limits would let it have
    client.spawned({.id = make_id(i), .arguments = {"sleep", "100"}});
  kill_keeper(SIGKILL);
  start_keeper();
  Client next(home_);
  EXPECT_EQ(next.list().size(), 70U);
}

TEST_F(Program, keeps_its_directory_private_and_works_below_a_very_long_path) {
  struct stat status{};
  ASSERT_EQ(::stat((home_ / "run").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  kill_keeper(SIGTERM);
  const auto above = home_;
  home_ = above / std::string(200, 'l');
  std::filesystem::create_directory(home_);
  start_keeper();
  {
    Client client(home_);
    EXPECT_EQ(client.spawn({.id = make_id(1), .arguments = {"true"}}).type(), MessageType::spawned);
  }
  home_ = above;
}

// As on kernels before 5.3 and in containers whose filter does not know clone3.
void forbid_clone3() {
  sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{.len = 4, .filter = filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    ::_exit(126);
  }
}

TEST_F(Program, works_where_clone3_is_forbidden) {
  kill_keeper(SIGTERM);
  start_keeper(forbid_clone3);
  Client client(home_);
  EXPECT_EQ(output_of(client, shell(1, "echo hello")), "hello\n");
  EXPECT_EQ(client.spawn_failure({.id = make_id(2), .arguments = {"/no/such"}}).error, ENOENT);
  const Descriptor cgroup{::open("/sys/fs/cgroup/unified", O_PATH | O_CLOEXEC)};
  if (!cgroup || ::geteuid() != 0) return;
  SpawnOptions options = shell(3, "grep ^0: /proc/self/cgroup");
  options.flags = kFlagCgroup;
  // output_of() puts its own descriptor first, as the order of the flags wants it.
  options.descriptors = {cgroup.get()};
  EXPECT_EQ(output_of(client, options), "0::/\n");
}

TEST_F(Program, refuses_a_journal_that_is_none) {
  kill_keeper(SIGTERM);
  std::ofstream(home_ / "run" / kJournalName) << "something else";
  EXPECT_EQ(run_program({"--home", home_.string()}), 1);
  EXPECT_EQ(read_file("run/keeper.journal"), "something else");
}

TEST_F(Program, makes_no_wake_ups_when_nothing_happens) {
  Client client(home_);
  for (std::uint32_t i = 1; i <= 20; ++i) client.spawned({.id = make_id(i), .arguments = {"sleep", "100"}});
  const auto switches = [&] {
    std::ifstream file("/proc/" + std::to_string(keeper_) + "/status");
    std::string word;
    while (file >> word && word != "voluntary_ctxt_switches:") {
    }
    file >> word;
    return word;
  };
  ASSERT_FALSE(switches().empty());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const std::string before = switches();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(switches(), before);
}

}  // namespace
}  // namespace appmesh::keeper::test

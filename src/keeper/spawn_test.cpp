// Spawning: what a child gets, what it does not get, and how each failure is told.
#include "keeper/spawn.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <pwd.h>

#include "keeper/keeper_harness.h"

namespace appmesh::keeper::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using Spawning = KeeperTest;

struct JournalHead {  // the first fields of JournalHeader, see table.h
  char magic[8];
  std::uint32_t numbers[3];
  std::int32_t keeper_pid;
};

SpawnOptions shell(std::uint32_t id, const std::string& command) {
  return {.id = make_id(id), .arguments = {"/bin/sh", "-c", command}};
}

TEST_F(Spawning, gives_arguments_environment_directory_and_descriptors) {
  Client client(home_);
  std::ofstream(home_ / "input") << "from stdin";
  const Descriptor input{::open((home_ / "input").c_str(), O_RDONLY | O_CLOEXEC)};
  SpawnOptions options{
      .id = make_id(1),
      .arguments = {"sh", "-c", "printf '%s|%s|' \"$1\" \"$COLOUR\"; pwd -P; cat; echo to stderr >&2", "name", "a b"},
      .environment = {"PATH=/nonexistent:/usr/bin:/bin", "COLOUR=deep blue"},
      .directory = "/usr/lib",
      .flags = kFlagStdin,
      .descriptors = {input.get()}};
  EXPECT_EQ(output_of(client, options), "a b|deep blue|/usr/lib\nfrom stdinto stderr\n");
}

TEST_F(Spawning, keeps_stderr_apart_when_told_so) {
  Client client(home_);
  const Descriptor output = output_file("out"), errors = output_file("err");
  SpawnOptions options = shell(1, "echo one; echo two >&2");
  options.flags = kFlagStdout | kFlagStderr;
  options.descriptors = {output.get(), errors.get()};
  client.spawned(options);
  client.wait_exit(options.id);
  EXPECT_EQ(read_file("out"), "one\n");
  EXPECT_EQ(read_file("err"), "two\n");
}

TEST_F(Spawning, without_descriptors_gives_dev_null_and_the_root_directory) {
  Client client(home_);
  const std::string path = (home_ / "seen").string();
  const SpawnOptions options = shell(1, "(pwd; readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2) >" + path);
  client.spawned(options);
  client.wait_exit(options.id);
  EXPECT_EQ(read_file("seen"), "/\n/dev/null\n/dev/null\n/dev/null\n");
}

TEST_F(Spawning, leaves_no_descriptor_above_two_open_in_the_child) {
  Client client(home_);
  // ls itself opens one for the directory.
  EXPECT_EQ(output_of(client, {.id = make_id(1), .arguments = {"ls", "/proc/self/fd"}}), "0\n1\n2\n3\n");
}

TEST_F(Spawning, makes_a_session_of_its_own_with_default_signals_and_umask) {
  Client client(home_);
  SpawnOptions options = shell(1, "cat /proc/$$/stat | cut -d' ' -f1,5,6; umask; cat /proc/self/status");
  const std::string output = output_of(client, options);
  int pid = 0, group = 0, session = 0;
  ASSERT_EQ(std::sscanf(output.c_str(), "%d %d %d", &pid, &group, &session), 3) << output;
  EXPECT_EQ(pid, group);
  EXPECT_EQ(pid, session);
  EXPECT_THAT(output, HasSubstr("\n0022\n"));
  const std::string none = "\t0000000000000000\n";
  EXPECT_THAT(output, HasSubstr("SigBlk:" + none + "SigIgn:" + none + "SigCgt:" + none));
}

TEST_F(Spawning, reports_pid_and_start_time_as_proc_does) {
  Client client(home_);
  const Started started = client.spawned({.id = make_id(1), .arguments = {"sleep", "100"}, .tag = "a tag"});
  EXPECT_EQ(started.start_ticks, start_ticks_of(started.pid));
  const auto runs = client.list();
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].first.pid, started.pid);
  EXPECT_EQ(runs[0].first.start_ticks, started.start_ticks);
  EXPECT_EQ(runs[0].first.started_us, started.started_us);
  EXPECT_EQ(runs[0].first.state, RunState::running);
  EXPECT_EQ(runs[0].second, "a tag");
}

TEST_F(Spawning, refuses_a_run_id_that_is_in_the_table_even_after_the_exit) {
  Client client(home_);
  const SpawnOptions options{.id = make_id(1), .arguments = {"true"}};
  client.spawned(options);
  EXPECT_EQ(as_error(client.spawn(options)).error, EEXIST);
  client.wait_exit(options.id);
  EXPECT_EQ(as_error(client.spawn(options)).error, EEXIST);
  client.forget(options.id);
  EXPECT_EQ(client.spawn(options).type(), MessageType::spawned);
}

TEST_F(Spawning, sets_limits_before_exec) {
  Client client(home_);
  SpawnOptions options = shell(1, "ulimit -n; ulimit -c");
  options.rlimits = {{.resource = RLIMIT_NOFILE, .soft = 123, .hard = 456},
                     {.resource = RLIMIT_CORE, .soft = 0, .hard = 0}};
  EXPECT_EQ(output_of(client, options), "123\n0\n");
}

TEST_F(Spawning, gives_the_descriptor_limit_that_the_keeper_was_started_with) {
  rlimit own{};
  ::getrlimit(RLIMIT_NOFILE, &own);
  Client client(home_);
  EXPECT_EQ(output_of(client, shell(1, "ulimit -Sn")), std::to_string(own.rlim_cur) + "\n");
}

TEST_F(Spawning, puts_the_program_first_when_argv_0_is_to_differ) {
  Client client(home_);
  SpawnOptions options{.id = make_id(1),
                       .arguments = {"/bin/sh", "-login-name", "-c", "tr '\\0' ' ' </proc/$$/cmdline"}};
  options.flags = kFlagProgramFirst;
  EXPECT_THAT(output_of(client, options), StartsWith("-login-name -c"));
}

TEST_F(Spawning, switches_user_with_groups_and_without_any_capability) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Client client(home_);
  SpawnOptions options = shell(1, "id -u; id -g; id -G; grep -E 'Cap|NoNewPrivs' /proc/self/status");
  options.flags = kFlagSwitchUser | kFlagNoNewPrivileges;
  options.uid = 65534;
  options.gid = 65533;
  options.groups = {12, 34};
  const std::string none = "\t0000000000000000\n";
  EXPECT_EQ(output_of(client, options), "65534\n65533\n65533 12 34\nCapInh:" + none + "CapPrm:" + none + "CapEff:" +
                                            none + "CapBnd:" + none + "CapAmb:" + none + "NoNewPrivs:\t1\n");
  options.flags = kFlagSwitchUser | kFlagKeepBoundingSet;
  EXPECT_THAT(output_of(client, options), HasSubstr("CapEff:" + none));
}

TEST_F(Spawning, makes_stdin_the_controlling_terminal) {
  const Descriptor master{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  ASSERT_EQ(::grantpt(master.get()), 0);
  ASSERT_EQ(::unlockpt(master.get()), 0);
  const Descriptor terminal{::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC)};
  Client client(home_);
  SpawnOptions options = shell(1, "echo terminal is mine >/dev/tty; sleep 100");
  options.flags = kFlagStdin | kFlagStdout | kFlagControllingTty;
  options.descriptors = {terminal.get(), terminal.get()};
  client.spawned(options);
  char line[64] = {};
  EXPECT_GT(::read(master.get(), line, sizeof line - 1), 0);
  EXPECT_THAT(std::string(line), StartsWith("terminal is mine"));
}

TEST_F(Spawning, names_step_and_errno_of_each_failure) {
  Client client(home_);
  const auto failure = [&](SpawnOptions options) {
    options.id = make_id(7);
    const SpawnFailed failed = client.spawn_failure(options);
    EXPECT_EQ(failed.run_id, options.id);
    return std::pair(failed.step, failed.error);
  };
  const auto is = [](SpawnStep step, int error) { return std::pair(step, error); };
  EXPECT_EQ(failure({.arguments = {"no-such-command"}}), is(SpawnStep::exec, ENOENT));
  EXPECT_EQ(failure({.arguments = {"/no/such/file"}}), is(SpawnStep::exec, ENOENT));
  EXPECT_EQ(failure({.arguments = {""}}), is(SpawnStep::exec, ENOENT));
  EXPECT_EQ(failure({.arguments = {"/etc/passwd"}}), is(SpawnStep::exec, EACCES));
  EXPECT_EQ(failure({.arguments = {"passwd"}, .environment = {"PATH=/etc:/nonexistent"}}), is(SpawnStep::exec, EACCES));
  EXPECT_EQ(failure({.arguments = {"true"}, .directory = "/no/such"}), is(SpawnStep::chdir, ENOENT));
  EXPECT_EQ(failure({.arguments = {"true"}, .directory = "/etc/passwd"}), is(SpawnStep::chdir, ENOTDIR));
  EXPECT_EQ(failure({.arguments = {"true"}, .rlimits = {{.resource = 77, .soft = 1, .hard = 1}}}),
            is(SpawnStep::rlimit, EINVAL));
  const Descriptor null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  EXPECT_EQ(failure({.arguments = {"true"}, .flags = kFlagStdin | kFlagControllingTty, .descriptors = {null.get()}}),
            is(SpawnStep::terminal, ENOTTY));
  EXPECT_EQ(failure({.arguments = {"true"}, .flags = kFlagCgroup, .descriptors = {null.get()}}),
            is(SpawnStep::cgroup, EBADF));
  const Descriptor read_only{::open("/etc/passwd", O_RDONLY | O_CLOEXEC)};
  EXPECT_EQ(failure({.arguments = {"true"}, .cgroup_tasks = 1, .descriptors = {read_only.get()}}),
            is(SpawnStep::cgroup_tasks, EBADF));
  std::ofstream(home_ / "noise") << std::string("\1\2\0\3", 4);
  ::chmod((home_ / "noise").c_str(), 0755);
  EXPECT_EQ(failure({.arguments = {home_ / "noise"}}), is(SpawnStep::exec, ENOEXEC));
  if (::geteuid() == 0) {
    EXPECT_EQ(
        failure({.arguments = {"true"}, .directory = home_, .flags = kFlagSwitchUser, .uid = 65534, .gid = 65534}),
        is(SpawnStep::chdir, EACCES));
    const SpawnOptions nobody{.id = make_id(7), .arguments = {"true"}, .flags = kFlagSwitchUser, .uid = UINT32_MAX};
    EXPECT_EQ(as_error(client.spawn(nobody)).error, EINVAL) << "setresuid(-1) would change nothing";
  }
  EXPECT_TRUE(client.list().empty()) << "a failed spawn leaves nothing in the table";
}

TEST_F(Spawning, takes_a_message_of_the_greatest_size) {
  Client client(home_);
  SpawnOptions options = shell(1, "printf %s \"$A$B\" | wc -c");
  options.environment.push_back("A=" + std::string(100'000, 'a'));
  options.environment.push_back("B=");
  options.environment.back().append(kMaxMessageBytes - pack(options, 1).size(), 'b');
  ASSERT_EQ(pack(options, 1).size(), kMaxMessageBytes);
  EXPECT_EQ(output_of(client, options),
            std::to_string(options.environment[1].size() + options.environment[2].size() - 4) + "\n");
  options.environment.back().push_back('b');
  EXPECT_EQ(as_error(client.spawn(options)).error, E2BIG);
}

TEST_F(Spawning, does_not_hand_on_the_keepers_low_oom_score_or_that_it_dumps_no_core) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may lower the score";
  kill_keeper(SIGTERM);
  start_keeper([] { std::ofstream("/proc/self/oom_score_adj") << "-500"; });
  Client client(home_);  // without CAP_SYS_RESOURCE the score was 0 and stays so
  EXPECT_EQ(output_of(client, shell(1, "cat /proc/self/oom_score_adj")), "0\n");
  // Who may not be traced has a /proc that belongs to root; what is started has its own again.
  SpawnOptions options = shell(2, "stat -c %u /proc/self/maps; ulimit -c");
  options.flags = kFlagSwitchUser;
  options.uid = options.gid = 65534;
  rlimit core{};
  ::getrlimit(RLIMIT_CORE, &core);
  EXPECT_EQ(output_of(client, options),
            "65534\n" + (core.rlim_cur == RLIM_INFINITY ? "unlimited" : std::to_string(core.rlim_cur / 512)) + "\n");
}

TEST_F(Spawning, leaves_no_core_of_the_keeper) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to run it as another";
  kill_keeper(SIGTERM);
  std::filesystem::remove_all(home_ / "run");
  std::filesystem::permissions(home_, std::filesystem::perms(0777));
  start_keeper(
      [] {
        if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(9);
      },
      {}, false);
  std::ifstream journal(home_ / "run/keeper.journal", std::ios::binary);
  JournalHead head{};
  ASSERT_TRUE(journal.read(reinterpret_cast<char*>(&head), sizeof head));
  keeper_ = head.keeper_pid;
  // Who may not dump core, and is traced by nobody, has a /proc that belongs to root.
  struct stat status{};
  ASSERT_EQ(::stat(("/proc/" + std::to_string(keeper_) + "/maps").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U);
}

TEST_F(Spawning, runs_a_text_without_interpreter_line_by_the_shell) {
  Client client(home_);
  std::ofstream(home_ / "script") << "echo \"$0 $#: $1|$2\"\n";
  std::ofstream(home_ / "empty");
  for (const char* name : {"script", "empty"}) ::chmod((home_ / name).c_str(), 0755);
  const std::string script = home_ / "script";
  EXPECT_EQ(output_of(client, {.id = make_id(1), .arguments = {script, "a b", "c"}}), script + " 2: a b|c\n");
  EXPECT_EQ(output_of(client, {.id = make_id(2), .arguments = {home_ / "empty"}}), "");
  const std::string path = "PATH=/nonexistent:" + home_.string();
  EXPECT_EQ(output_of(client, {.id = make_id(3), .arguments = {"script", "x"}, .environment = {path}}),
            script + " 1: x|\n");
  EXPECT_EQ(output_of(client, {.id = make_id(4), .arguments = {script, "argv0", "y"}, .flags = kFlagProgramFirst}),
            script + " 1: y|\n");
}

TEST_F(Spawning, names_the_file_and_the_interpreter_that_is_missing) {
  Client client(home_);
  const auto texts = [&](SpawnOptions options) {
    options.id = make_id(7);
    const Message message = client.spawn(options);
    message.as<SpawnFailed>(MessageType::spawn_failed);
    std::string text = message.tag_after(sizeof(SpawnFailed));
    std::replace(text.begin(), text.end(), '\0', '|');
    return text;
  };
  const std::string script = home_ / "script";
  std::ofstream(script) << "#! /no/such/python3 -u\nprint()\n";
  ::chmod(script.c_str(), 0755);
  EXPECT_EQ(texts({.arguments = {script}}), script + "|/no/such/python3|");
  EXPECT_EQ(texts({.arguments = {"script"}, .environment = {"PATH=/nonexistent:" + home_.string()}}),
            script + "|/no/such/python3|");
  EXPECT_EQ(texts({.arguments = {"/no/such/file"}}), "/no/such/file|");
  EXPECT_EQ(texts({.arguments = {"no-such-command"}}), "");
  EXPECT_EQ(texts({.arguments = {"passwd"}, .environment = {"PATH=/nonexistent:/etc"}}), "/etc/passwd|");
  const std::string deep = "/" + std::string(200, 'd') + "/" + std::string(200, 'e');
  EXPECT_EQ(texts({.arguments = {deep}}), "..." + deep.substr(deep.size() - (kMaxFailureText / 2 - 4)) + "|");
  // A program whose loader is missing: true, with another name for it.
  std::ifstream in("/bin/true", std::ios::binary);
  std::string program{std::istreambuf_iterator<char>(in), {}};
  const std::size_t at = program.find("/lib64/ld-linux");
  if (at == std::string::npos) GTEST_SKIP() << "/bin/true has another loader";
  program.replace(at, 6, "/lib99");
  std::ofstream(home_ / "program", std::ios::binary) << program;
  ::chmod((home_ / "program").c_str(), 0755);
  EXPECT_THAT(texts({.arguments = {home_ / "program"}}), HasSubstr("program|/lib99/ld-linux"));
}

TEST_F(Spawning, gives_up_on_a_child_that_never_gets_to_exec) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs a FUSE mount or a frozen cgroup, so root";
  Client client(home_);
  // Opening a FIFO as a program does not block, but a frozen cgroup holds the child before exec.
  std::ifstream mounts("/proc/mounts");
  std::string device, where, type, line;
  std::filesystem::path cgroup;
  while (mounts >> device >> where >> type && std::getline(mounts, line)) {
    if (type == "cgroup2") cgroup = where;
  }
  if (cgroup.empty()) GTEST_SKIP() << "no cgroup v2 mount";
  cgroup /= "keeper_test_frozen_" + std::to_string(::getpid());
  ASSERT_TRUE(std::filesystem::create_directory(cgroup));
  std::ofstream(cgroup / "cgroup.freeze") << "1" << std::flush;
  const Descriptor directory{::open(cgroup.c_str(), O_PATH | O_CLOEXEC)};
  SpawnOptions options{.id = make_id(1), .arguments = {"true"}, .flags = kFlagCgroup, .descriptors = {directory.get()}};
  EXPECT_EQ(client.spawn_failure(options).error, ETIMEDOUT);
  EXPECT_TRUE(eventually([&] { return ::rmdir(cgroup.c_str()) == 0; }));
  EXPECT_EQ(client.spawn({.id = make_id(2), .arguments = {"true"}}).type(), MessageType::spawned);
}

}  // namespace
}  // namespace appmesh::keeper::test

// What the keeper holds for a run beside its process: kept descriptors, its own pid in the environment, another main
// process.
#include <cerrno>
#include <csignal>

#include <sys/socket.h>

#include <fcntl.h>
#include <gmock/gmock.h>

#include "keeper/keeper_harness.h"

namespace appmesh::keeper::test {
namespace {

using KeptDescriptors = KeeperTest;
using OwnPid = KeeperTest;
using MainProcess = KeeperTest;

struct Pair {
  Descriptor near;
  Descriptor far;
};

Pair datagram_pair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), 0);
  return {Descriptor{ends[0]}, Descriptor{ends[1]}};
}

std::string read_datagram(int socket) {
  char text[64];
  const ssize_t got = ::recv(socket, text, sizeof text, MSG_DONTWAIT);
  return got < 0 ? std::string() : std::string(text, static_cast<std::size_t>(got));
}

SpawnOptions sleeper(std::uint32_t id) {
  return {.id = make_id(id), .arguments = {"sleep", "100"}};
}

TEST_F(KeptDescriptors, are_given_back_to_the_next_daemon_with_what_waits_in_them) {
  Pair pair = datagram_pair();
  {
    Client client(home_);
    SpawnOptions options = sleeper(1);
    options.kept = 1;
    options.descriptors = {pair.near.get()};
    client.spawned(options);
  }
  pair.near.reset();
  ASSERT_EQ(::send(pair.far.get(), "said meanwhile", 14, 0), 14) << "the keeper holds the other end";
  Client next(home_);
  for (int i = 0; i < 2; ++i) {
    const auto kept = next.ask_kept(make_id(1));
    ASSERT_EQ(kept.size(), 1U);
    if (i == 1) EXPECT_EQ(read_datagram(kept[0].get()), "said meanwhile");
  }
}

TEST_F(KeptDescriptors, outlive_a_reexec_and_go_with_the_run) {
  Client client(home_);
  const Pair pair = datagram_pair();
  const std::size_t before = descriptors_of(keeper_);
  SpawnOptions options = sleeper(1);
  options.kept = 1;
  options.descriptors = {pair.near.get()};
  const Started run = client.spawned(options);
  EXPECT_EQ(descriptors_of(run.pid), 3U) << "no kept descriptor in the child";
  Keep keep{};
  keep.header.type = MessageType::keep;
  keep.run_id = make_id(1);
  EXPECT_EQ(client.ask(keep, {pair.far.get(), pair.far.get()}).as<Done>(MessageType::done).count, 3U);
  EXPECT_EQ(as_error(client.ask(keep, {pair.far.get(), pair.far.get()})).error, E2BIG);

  Reexec reexec{};
  reexec.header.type = MessageType::reexec;
  client.ask(reexec).as<Done>(MessageType::done);
  ASSERT_EQ(::send(pair.far.get(), "x", 1, 0), 1);
  const auto kept = client.ask_kept(make_id(1));
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(read_datagram(kept[0].get()), "x");
  const Started other = client.spawned(sleeper(2));
  EXPECT_EQ(descriptors_of(other.pid), 3U) << "closed in children after the re-exec too";

  client.signal(make_id(1), SignalScope::process, SIGKILL);
  client.wait_exit(make_id(1));
  EXPECT_EQ(client.ask_kept(make_id(1)).size(), 3U) << "until it is forgotten";
  client.forget(make_id(1));
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
}

TEST_F(KeptDescriptors, do_not_outlive_the_keeper_and_can_be_given_anew) {
  const Pair pair = datagram_pair();
  {
    Client client(home_);
    SpawnOptions options = sleeper(1);
    options.kept = 1;
    options.descriptors = {pair.near.get()};
    client.spawned(options);
  }
  kill_keeper(SIGKILL);
  start_keeper();
  Client client(home_);
  EXPECT_TRUE(client.ask_kept(make_id(1)).empty());
  Keep keep{};
  keep.header.type = MessageType::keep;
  keep.run_id = make_id(1);
  client.ask(keep, {pair.near.get()}).as<Done>(MessageType::done);
  EXPECT_EQ(client.ask_kept(make_id(1)).size(), 1U);
}

TEST_F(KeptDescriptors, of_a_spawn_that_fails_are_closed) {
  Client client(home_);
  const Pair pair = datagram_pair();
  const std::size_t before = descriptors_of(keeper_);
  SpawnOptions options{.id = make_id(1), .arguments = {"/does/not/exist"}};
  options.kept = 1;
  options.descriptors = {pair.near.get()};
  client.spawn_failure(options);
  options.kept = 2;
  EXPECT_EQ(as_error(client.spawn(options)).error, EBADMSG);
  AskKept unknown{};
  unknown.header.type = MessageType::ask_kept;
  EXPECT_EQ(as_error(client.ask(unknown)).error, ESRCH);
  EXPECT_TRUE(eventually([&] { return descriptors_of(keeper_) == before; }));
}

TEST_F(OwnPid, is_written_into_the_last_variable) {
  Client client(home_);
  SpawnOptions options{.id = make_id(1), .arguments = {"/bin/sh", "-c", "test \"$OWN\" = \"$$\""}};
  options.flags = kFlagOwnPid;
  options.environment = {"PATH=/bin", "OWN=0000000000"};
  client.spawned(options);
  EXPECT_EQ(client.wait_exit(make_id(1)).exit.wait_status, 0);
  options.environment = {"PATH=/bin", "OWN=0"};
  EXPECT_THAT(as_error(client.spawn(options)).message, ::testing::HasSubstr("environment"));
}

TEST_F(MainProcess, stands_for_the_run_and_its_exit_code_counts) {
  Client client(home_);
  SpawnOptions options{
      .id = make_id(1),
      .arguments = {"/bin/sh", "-c", "sh -c 'trap \"exit 31\" TERM; echo $$; while :; do sleep 0.01; done' & wait"}};
  const Descriptor output = output_file("pid");
  options.flags = kFlagStdout;
  options.descriptors = {output.get()};
  const Started first = client.spawned(options);
  ASSERT_TRUE(eventually([&] { return read_file("pid").ends_with('\n'); }));
  const pid_t second = std::stoi(read_file("pid"));
  MainPid request{};
  request.header.type = MessageType::main_pid;
  request.run_id = make_id(1);
  request.pid = second;
  request.start_ticks = start_ticks_of(second) + 1;
  EXPECT_EQ(as_error(client.ask(request)).error, ESRCH);
  request.start_ticks = start_ticks_of(second);
  client.ask(request).as<Done>(MessageType::done);
  ::kill(first.pid, SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(first.pid); }));
  EXPECT_EQ(client.find(make_id(1))->state, RunState::running);
  EXPECT_EQ(client.find(make_id(1))->pid, second);
  ::kill(second, SIGTERM);
  EXPECT_EQ(WEXITSTATUS(client.wait_exit(make_id(1)).exit.wait_status), 31);
}

}  // namespace
}  // namespace appmesh::keeper::test

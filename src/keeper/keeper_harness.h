// For the keeper's tests: a real appkeeper in a temporary home, and a client that speaks its protocol over the real
// socket. The test process is a child subreaper, so whatever a test leaves behind becomes its child and is ended here.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include <gtest/gtest.h>

#include "keeper/descriptor.h"
#include "keeper/protocol.h"

namespace appmesh::keeper::test {

RunId make_id(std::uint32_t number);

struct SpawnOptions {
  RunId id{};
  std::vector<std::string> arguments;
  std::vector<std::string> environment = {"PATH=/usr/bin:/bin"};
  std::string directory;
  std::string tag;
  std::uint32_t flags = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;
  std::vector<Rlimit> rlimits;
  std::uint16_t cgroup_tasks = 0;
  std::uint16_t kept = 0;  // the last of the descriptors
  std::vector<int> descriptors = {};
};

struct Message {
  std::vector<std::byte> bytes;
  const Header& header() const { return *reinterpret_cast<const Header*>(bytes.data()); }
  MessageType type() const { return bytes.empty() ? MessageType{} : header().type; }
  // Fails the test and gives zeros when the message is of another type.
  template <typename T>
  T as(MessageType expected) const {
    T value{};
    EXPECT_EQ(static_cast<int>(type()), static_cast<int>(expected)) << describe();
    if (type() == expected && bytes.size() >= sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }
  std::string tag_after(std::size_t fixed) const {
    return {reinterpret_cast<const char*>(bytes.data()) + fixed, bytes.size() - fixed};
  }
  std::string describe() const;
};

class Client {
 public:
  // Connects, and greets unless told otherwise.
  explicit Client(const std::filesystem::path& home, bool greet = true);

  std::uint64_t next_request() { return ++request_id_; }
  void send(const void* bytes, std::size_t size, const std::vector<int>& descriptors = {});
  // The next message, or an empty one when the keeper has closed or 10 s have passed.
  Message receive();
  bool closed();  // waits until the keeper has closed
  // The answer to a request; exits that come before it are kept for wait_exit(), answers to starts for later calls.
  Message answer(std::uint64_t request_id);

  // Whether the answer to a start came before another that was waited for.
  bool is_answered(std::uint64_t request_id) const { return early_.contains(request_id); }

  template <typename T>
  Message ask(T request, const std::vector<int>& descriptors = {}) {
    request.header.size = sizeof request;
    request.header.request_id = next_request();
    send(&request, sizeof request, descriptors);
    return answer(request.header.request_id);
  }

  HelloReply hello();
  Message spawn(const SpawnOptions& options);
  Started spawned(const SpawnOptions& options) { return spawn(options).as<Started>(MessageType::spawned); }
  SpawnFailed spawn_failure(const SpawnOptions& options) {
    return spawn(options).as<SpawnFailed>(MessageType::spawn_failed);
  }
  Message signal(const RunId& id, SignalScope scope, int number, const std::vector<int>& descriptors = {});
  Message forget(const RunId& id);
  Message adopt(const RunId& id, pid_t pid, std::uint64_t start_ticks, const std::string& tag = {});
  std::vector<std::pair<Run, std::string>> list();
  std::optional<Run> find(const RunId& id);
  Exited wait_exit(const RunId& id);
  // Those that the keeper holds for the run.
  std::vector<Descriptor> ask_kept(const RunId& id);

 private:
  Descriptor socket_;
  std::uint64_t request_id_ = 0;
  std::vector<Exited> exits_;
  std::map<std::uint64_t, Message> early_;  // answers to starts, by request
  std::vector<Descriptor> received_;        // with the last message
};

std::vector<std::byte> pack(const SpawnOptions& options, std::uint64_t request_id);
Error as_error(const Message& message);

class KeeperTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // before_exec runs in the child that becomes the keeper's starter.
  void start_keeper(
      const std::function<void()>& before_exec = [] {}, const std::vector<std::string>& more = {}, bool connect = true);
  // The same with further arguments; no run may live.
  void restart_keeper(const std::vector<std::string>& more);
  void kill_keeper(int signal);  // and reaps it
  // Runs a shell command through the keeper with its output in a file, waits for its end and gives the output.
  std::string output_of(Client& client, SpawnOptions options, int expected_status = 0);
  Descriptor output_file(const std::string& name) const;
  std::string read_file(const std::string& name) const;
  // Waits for the condition, at most 10 s.
  static bool eventually(const std::function<bool()>& condition);
  static bool alive(pid_t pid);  // and not a zombie
  static std::size_t descriptors_of(pid_t pid);
  static std::uint64_t start_ticks_of(pid_t pid);

  std::filesystem::path home_;
  pid_t keeper_ = -1;
};

}  // namespace appmesh::keeper::test

// What keeper_harness.h promises. The name makes it part of the test program.
#include "keeper/keeper_harness.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace appmesh::keeper::test {

RunId make_id(std::uint32_t number) {
  RunId id{};
  id.bytes[15] = 1;
  std::memcpy(id.bytes, &number, sizeof number);
  return id;
}

std::string Message::describe() const {
  if (bytes.empty()) return "nothing came";
  if (type() == MessageType::error && bytes.size() == sizeof(Error)) {
    const auto& error = *reinterpret_cast<const Error*>(bytes.data());
    return std::string("error ") + error.message + ": " + ::strerrordesc_np(error.error);
  }
  if (type() == MessageType::spawn_failed && bytes.size() == sizeof(SpawnFailed)) {
    const auto& failed = *reinterpret_cast<const SpawnFailed*>(bytes.data());
    return std::string("spawn failed ") + to_string(failed.step) + ": " + ::strerrordesc_np(failed.error);
  }
  return "message of type " + std::to_string(static_cast<int>(type()));
}

Error as_error(const Message& message) {
  return message.as<Error>(MessageType::error);
}

std::vector<std::byte> pack(const SpawnOptions& options, std::uint64_t request_id) {
  std::string arguments, environment;
  for (const auto& argument : options.arguments) arguments.append(argument).push_back('\0');
  for (const auto& entry : options.environment) environment.append(entry).push_back('\0');
  std::string directory = options.directory;
  if (!directory.empty()) directory.push_back('\0');

  Spawn spawn{};
  spawn.header = {.type = MessageType::spawn, .reserved = 0, .size = 0, .request_id = request_id};
  spawn.run_id = options.id;
  spawn.flags = options.flags;
  spawn.uid = options.uid;
  spawn.gid = options.gid;
  spawn.group_count = static_cast<std::uint16_t>(options.groups.size());
  spawn.rlimit_count = static_cast<std::uint16_t>(options.rlimits.size());
  spawn.tag_bytes = static_cast<std::uint16_t>(options.tag.size());
  spawn.cgroup_tasks_count = options.cgroup_tasks;
  spawn.kept_count = options.kept;
  spawn.cwd_bytes = static_cast<std::uint32_t>(directory.size());
  spawn.argument_count = static_cast<std::uint32_t>(options.arguments.size());
  spawn.arguments_bytes = static_cast<std::uint32_t>(arguments.size());
  spawn.environment_count = static_cast<std::uint32_t>(options.environment.size());
  spawn.environment_bytes = static_cast<std::uint32_t>(environment.size());

  std::vector<std::byte> bytes;
  const auto append = [&](const void* from, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + size);
  };
  append(&spawn, sizeof spawn);
  append(options.rlimits.data(), options.rlimits.size() * sizeof(Rlimit));
  append(options.groups.data(), options.groups.size() * sizeof(std::uint32_t));
  append(options.tag.data(), options.tag.size());
  append(directory.data(), directory.size());
  append(arguments.data(), arguments.size());
  append(environment.data(), environment.size());
  reinterpret_cast<Header*>(bytes.data())->size = static_cast<std::uint32_t>(bytes.size());
  return bytes;
}

Client::Client(const std::filesystem::path& home, bool greet) {
  socket_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const Descriptor directory{::open((home / "run").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory.get(), kSocketName);
  EXPECT_EQ(::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << std::strerror(errno);
  if (greet) hello();
}

void Client::send(const void* bytes, std::size_t size, const std::vector<int>& descriptors) {
  iovec part{.iov_base = const_cast<void*>(bytes), .iov_len = size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  }
  const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return;  // whoever waits for an answer sees it
  EXPECT_EQ(sent, static_cast<ssize_t>(size)) << std::strerror(errno);
}

Message Client::receive() {
  pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&readable, 1, 10'000) != 1) return {};
  Message message{.bytes = std::vector<std::byte>(kMaxMessageBytes)};
  iovec part{.iov_base = message.bytes.data(), .iov_len = message.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxKept)] = {};
  msghdr envelope{};
  envelope.msg_iov = &part;
  envelope.msg_iovlen = 1;
  envelope.msg_control = control;
  envelope.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(socket_.get(), &envelope, MSG_CMSG_CLOEXEC);
  received_.clear();
  if (const cmsghdr* header = size > 0 ? CMSG_FIRSTHDR(&envelope) : nullptr; header != nullptr) {
    for (std::size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof number);
      received_.emplace_back(number);
    }
  }
  message.bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  if (!message.bytes.empty()) EXPECT_EQ(message.header().size, message.bytes.size());
  return message;
}

bool Client::closed() {
  pollfd readable{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  char byte = 0;
  return ::poll(&readable, 1, 10'000) == 1 && ::recv(socket_.get(), &byte, 1, 0) <= 0;
}

Message Client::answer(std::uint64_t request_id) {
  if (auto early = early_.extract(request_id)) return std::move(early.mapped());
  for (;;) {
    Message message = receive();
    if (message.bytes.empty() || message.header().request_id == request_id) return message;
    if (message.type() == MessageType::spawned || message.type() == MessageType::spawn_failed) {
      const std::uint64_t id = message.header().request_id;
      EXPECT_TRUE(id <= request_id_ && early_.emplace(id, std::move(message)).second) << "answers nothing";
    } else {
      exits_.push_back(message.as<Exited>(MessageType::exited));
    }
  }
}

HelloReply Client::hello() {
  Hello request{};
  request.header.type = MessageType::hello;
  request.version = kProtocolVersion;
  return ask(request).as<HelloReply>(MessageType::hello_reply);
}

Message Client::spawn(const SpawnOptions& options) {
  const std::uint64_t id = next_request();
  const auto bytes = pack(options, id);
  send(bytes.data(), bytes.size(), options.descriptors);
  return answer(id);
}

Message Client::signal(const RunId& id, SignalScope scope, int number, const std::vector<int>& descriptors) {
  Signal request{};
  request.header.type = MessageType::signal;
  request.run_id = id;
  request.scope = scope;
  request.signal = number;
  return ask(request, descriptors);
}

std::vector<Descriptor> Client::ask_kept(const RunId& id) {
  AskKept request{};
  request.header.type = MessageType::ask_kept;
  request.run_id = id;
  const Kept answer = ask(request).as<Kept>(MessageType::kept);
  EXPECT_EQ(answer.count, received_.size());
  return std::move(received_);
}

Message Client::forget(const RunId& id) {
  Forget request{};
  request.header.type = MessageType::forget;
  request.run_id = id;
  return ask(request);
}

Message Client::adopt(const RunId& id, pid_t pid, std::uint64_t start_ticks, const std::string& tag) {
  std::vector<std::byte> bytes(sizeof(Adopt) + tag.size());
  auto& request = *new (bytes.data()) Adopt{};
  request.header = {.type = MessageType::adopt,
                    .reserved = 0,
                    .size = static_cast<std::uint32_t>(bytes.size()),
                    .request_id = next_request()};
  request.run_id = id;
  request.pid = pid;
  request.start_ticks = start_ticks;
  request.tag_bytes = static_cast<std::uint16_t>(tag.size());
  std::memcpy(bytes.data() + sizeof(Adopt), tag.data(), tag.size());
  send(bytes.data(), bytes.size());
  return answer(request.header.request_id);
}

std::vector<std::pair<Run, std::string>> Client::list() {
  Request request{};
  request.header = {.type = MessageType::list, .reserved = 0, .size = sizeof request, .request_id = next_request()};
  send(&request, sizeof request);
  std::vector<std::pair<Run, std::string>> runs;
  for (;;) {
    const Message message = answer(request.header.request_id);
    if (message.type() != MessageType::run) {
      EXPECT_EQ(message.as<ListEnd>(MessageType::list_end).count, runs.size());
      return runs;
    }
    runs.emplace_back(message.as<Run>(MessageType::run), message.tag_after(sizeof(Run)));
    EXPECT_EQ(runs.back().first.tag_bytes, runs.back().second.size());
  }
}

std::optional<Run> Client::find(const RunId& id) {
  for (const auto& [run, tag] : list()) {
    if (run.run_id == id) return run;
  }
  return std::nullopt;
}

Exited Client::wait_exit(const RunId& id) {
  for (;;) {
    for (auto at = exits_.begin(); at != exits_.end(); ++at) {
      if (!(at->run_id == id)) continue;
      const Exited exit = *at;
      exits_.erase(at);
      return exit;
    }
    Message message = receive();
    if (message.bytes.empty()) {
      ADD_FAILURE() << "no exit came";
      return {};
    }
    if (message.type() == MessageType::spawned || message.type() == MessageType::spawn_failed) {
      const std::uint64_t request = message.header().request_id;
      early_.emplace(request, std::move(message));
      continue;
    }
    exits_.push_back(message.as<Exited>(MessageType::exited));
  }
}

void KeeperTest::SetUp() {
  ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  std::string name = (std::filesystem::temp_directory_path() / "keeper_test.XXXXXX").string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  home_ = name;
  start_keeper();
}

void KeeperTest::TearDown() {
  // Every process of the test is a descendant: killing children brings up theirs, until none is left.
  const std::string children = "/proc/self/task/" + std::to_string(::gettid()) + "/children";
  for (;;) {
    std::ifstream file(children);
    for (pid_t pid = 0; file >> pid;) ::kill(pid, SIGKILL);
    if (::waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) break;
  }
  std::error_code ignored;
  std::filesystem::remove_all(home_, ignored);
}

void KeeperTest::restart_keeper(const std::vector<std::string>& more) {
  kill_keeper(SIGTERM);
  start_keeper([] {}, more);
}

void KeeperTest::start_keeper(const std::function<void()>& before_exec, const std::vector<std::string>& more,
                              bool connect) {
  // The parent of --detach returns when the socket is ready; the keeper itself then becomes our child.
  const std::string home = home_.string();
  const char* const other = std::getenv("APPKEEPER");  // to try the tests on another build
  const std::string program = other != nullptr ? other : APPKEEPER_PATH;
  const pid_t starter = ::fork();
  if (starter == 0) {
    before_exec();
    std::vector<const char*> arguments = {program.c_str(), "--home", home.c_str(), "--detach"};
    for (const std::string& argument : more) arguments.push_back(argument.c_str());
    arguments.push_back(nullptr);
    ::execv(program.c_str(), const_cast<char* const*>(arguments.data()));
    ::_exit(127);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(starter, &status, 0), starter);
  ASSERT_EQ(status, 0) << read_file("run/keeper.log");
  if (connect) keeper_ = Client(home_, false).hello().pid;
}

void KeeperTest::kill_keeper(int signal) {
  ASSERT_GT(keeper_, 1);
  ASSERT_EQ(::kill(keeper_, signal), 0);
  ASSERT_EQ(::waitpid(keeper_, nullptr, 0), keeper_);
  keeper_ = -1;
}

Descriptor KeeperTest::output_file(const std::string& name) const {
  return Descriptor{::open((home_ / name).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)};
}

std::string KeeperTest::read_file(const std::string& name) const {
  std::ifstream file(home_ / name);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string KeeperTest::output_of(Client& client, SpawnOptions options, int expected_status) {
  std::filesystem::remove(home_ / "output");
  const Descriptor output = output_file("output");
  options.flags |= kFlagStdout;
  options.descriptors.insert(options.descriptors.begin() + ((options.flags & kFlagStdin) != 0 ? 1 : 0), output.get());
  client.spawned(options);
  EXPECT_EQ(client.wait_exit(options.id).exit.wait_status, expected_status);
  EXPECT_EQ(client.forget(options.id).type(), MessageType::done);
  return read_file("output");
}

bool KeeperTest::eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

namespace {

// What /proc/PID/stat says, empty when the process is gone. A process may end between open and read, which then fails
// with ESRCH.
std::string stat_of(pid_t pid) {
  const Descriptor file{::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC)};
  char text[4096];
  const ssize_t size = file.get() < 0 ? 0 : ::read(file.get(), text, sizeof text);
  return {text, static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

bool KeeperTest::alive(pid_t pid) {
  const std::string text = stat_of(pid);
  const auto bracket = text.rfind(')');
  return bracket != std::string::npos && text[bracket + 2] != 'Z' && text[bracket + 2] != 'X';
}

std::size_t KeeperTest::descriptors_of(pid_t pid) {
  const std::filesystem::directory_iterator entries("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

std::uint64_t KeeperTest::start_ticks_of(pid_t pid) {
  const std::string text = stat_of(pid);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return std::stoull(field);
}

}  // namespace appmesh::keeper::test

// Past 500 lines: one conversation with the keeper, whose requests, answers and reconnection share one table.
#include "runtime/keeper_client.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include <sys/socket.h>
#include <sys/wait.h>

#include <boost/asio/post.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "runtime/keeper_connect.h"

namespace appmesh::runtime {

namespace {

// Below what the keeper admits (keeper::kMaxStartsOfUser, kMaxStarts): those that the kernel holds count there too.
constexpr std::size_t kStartsOfUser = 16;
constexpr std::size_t kStarts = 64;
constexpr std::size_t kMaxOutgoing = 70'000;  // requests waiting for the keeper to read; more than runs it can hold

core::WallTime wall_time(std::int64_t microseconds) {
  return core::WallTime(std::chrono::microseconds(microseconds));
}

RunExit to_exit(const keeper::Exit& exit, std::uint32_t flags) {
  RunExit result;
  result.ended = wall_time(exit.exited_us);
  result.known = (flags & keeper::kExitUnknown) == 0;
  if (!result.known) return result;
  result.return_code = WIFSIGNALED(exit.wait_status) ? -WTERMSIG(exit.wait_status) : WEXITSTATUS(exit.wait_status);
  result.max_rss_bytes = exit.max_rss_kb * 1024;
  result.cpu = std::chrono::microseconds(exit.user_us + exit.system_us);
  return result;
}

// Appends values and strings to one datagram; the header's size is set at the end.
class MessageWriter {
 public:
  template <typename T>
  void value(const T& item) {
    bytes({reinterpret_cast<const std::byte*>(&item), sizeof item});
  }
  void bytes(std::span<const std::byte> data) { buffer_.insert(buffer_.end(), data.begin(), data.end()); }
  void text(std::string_view text) { bytes(std::as_bytes(std::span(text))); }
  void terminated(std::string_view item) {
    text(item);
    buffer_.push_back(std::byte{0});
  }
  [[nodiscard]] std::vector<std::byte> finish() && {
    const auto size = static_cast<std::uint32_t>(buffer_.size());
    std::memcpy(buffer_.data() + offsetof(keeper::Header, size), &size, sizeof size);
    return std::move(buffer_);
  }

 private:
  std::vector<std::byte> buffer_;
};

keeper::Header header(keeper::MessageType type, std::uint64_t request_id) {
  return {type, 0, 0, request_id};
}

template <typename T>
bool read_as(const std::byte* data, std::size_t size, T& out) {
  if (size < sizeof out) return false;
  std::memcpy(&out, data, sizeof out);
  return true;
}

std::vector<int> numbers_of(const std::vector<platform::UniqueFd>& descriptors) {
  std::vector<int> numbers;
  numbers.reserve(descriptors.size());
  for (const auto& descriptor : descriptors) numbers.push_back(descriptor.get());
  return numbers;
}

std::uint32_t packed_bytes(const std::vector<std::string>& items) {
  std::size_t total = 0;
  for (const auto& item : items) total += item.size() + 1;
  return static_cast<std::uint32_t>(total);
}

// What the keeper says after its fixed part: up to `count` strings, each with its NUL.
std::vector<std::string> trailing_texts(const std::byte* data, std::size_t size, std::size_t fixed) {
  std::vector<std::string> texts;
  const char* at = reinterpret_cast<const char*>(data) + fixed;
  const char* const end = reinterpret_cast<const char*>(data) + size;
  while (at < end) {
    texts.emplace_back(at, ::strnlen(at, static_cast<std::size_t>(end - at)));
    at += texts.back().size() + 1;
  }
  return texts;
}

// Step, file and reason, for people.
std::string failure_text(const keeper::SpawnFailed& failed, const std::vector<std::string>& texts,
                         const std::string& program, const std::string& directory, std::uint32_t uid) {
  using keeper::SpawnStep;
  const char* const step = to_string(failed.step);
  const char* const reason = ::strerror(failed.error);
  if (failed.step == SpawnStep::admission)
    return fmt::format("{}: {} starts of OS user {} are under way or held by files that do not answer", step,
                       failed.detail, uid);
  const std::string& file = failed.step == SpawnStep::chdir ? directory : texts.empty() ? program : texts.front();
  if (failed.error == ETIMEDOUT)
    return fmt::format("{}: {} did not answer within {} s", step, file, keeper::kSpawnTimeoutSeconds);
  if (failed.step == SpawnStep::chdir) return fmt::format("{}: {}: {}", step, file, reason);
  if (failed.step != SpawnStep::exec) return fmt::format("{}: {}", step, reason);
  if (texts.size() > 1 && !texts[1].empty())
    return fmt::format("{}: {}: its interpreter {}: {}", step, file, texts[1], reason);
  if (program.find('/') == std::string::npos && failed.error == ENOENT && texts.empty())
    return fmt::format("{}: {}: {} in any directory of PATH", step, program, reason);
  return fmt::format("{}: {}: {}", step, file, reason);
}

}  // namespace

KeeperClient::KeeperClient(boost::asio::io_context& context, std::filesystem::path home,
                           std::filesystem::path keeper_program, Handlers handlers)
    : context_(context),
      home_(std::move(home)),
      keeper_program_(std::move(keeper_program)),
      handlers_(std::move(handlers)),
      buffer_(keeper::kMaxMessageBytes) {}

KeeperClient::~KeeperClient() {
  if (connector_.joinable()) connector_.join();
}

void KeeperClient::connect(Answer done) {
  if (connector_.joinable()) connector_.join();
  connector_ = std::thread([this, done = std::move(done)]() mutable {
    auto connection = connect_keeper(home_, keeper_program_);
    boost::asio::post(context_, [this, done = std::move(done), connection = std::move(connection)]() mutable {
      if (!connection) return done(std::unexpected(connection.error()));
      take_connection(std::move(connection->socket), connection->hello);
      done({});
    });
  });
}

void KeeperClient::take_connection(platform::UniqueFd socket, const keeper::HelloReply& hello) {
  keeper_pid_ = hello.pid;
  features_ = hello.features;
  ++connection_;
  descriptor_.emplace(context_, socket.release());
  wait_readable();
}

std::uint64_t KeeperClient::remember(Pending pending) {
  const std::uint64_t id = ++next_request_;
  pending_.emplace(id, std::move(pending));
  return id;
}

template <typename T>
std::optional<T> KeeperClient::take_pending(std::uint64_t request_id) {
  const auto found = pending_.find(request_id);
  if (found == pending_.end()) return std::nullopt;
  T* typed = std::get_if<T>(&found->second);
  if (typed == nullptr) return std::nullopt;
  std::optional<T> result(std::move(*typed));
  pending_.erase(found);
  return result;
}

void KeeperClient::spawn(const SpawnRequest& request, SpawnAnswer done) {
  auto refuse = [&](int error, std::string message) {
    boost::asio::post(context_, [done = std::move(done), error, message = std::move(message)]() mutable {
      done(std::unexpected(SpawnFailure{keeper::SpawnStep::none, error, std::move(message)}));
    });
  };
  if (!connected()) return refuse(ENOTCONN, "the keeper is not reachable");
  if (request.arguments.empty() || request.arguments.size() > keeper::kMaxArguments)
    return refuse(E2BIG, "command: too many arguments");
  if (request.environment.size() > keeper::kMaxEnvironment) return refuse(E2BIG, "env: too many variables");
  if (request.tag.size() > keeper::kMaxTagBytes) return refuse(E2BIG, "tag too long");
  if (request.user && request.user->groups.size() > keeper::kMaxGroups)
    return refuse(E2BIG, fmt::format("user: is in more than {} groups", keeper::kMaxGroups));

  keeper::Spawn spawn{};
  spawn.run_id = request.id.raw;
  std::vector<int> descriptors;
  if (request.stdin_fd >= 0) {
    spawn.flags |= keeper::kFlagStdin;
    descriptors.push_back(request.stdin_fd);
  }
  if (request.output_fd >= 0) {
    spawn.flags |= keeper::kFlagStdout;
    descriptors.push_back(request.output_fd);
  }
  if (request.cgroup_fd >= 0) {
    spawn.flags |= keeper::kFlagCgroup;
    descriptors.push_back(request.cgroup_fd);
  }
  descriptors.insert(descriptors.end(), request.cgroup_tasks_fds.begin(), request.cgroup_tasks_fds.end());
  if (has(keeper::kFeatureKept)) {
    if (request.kept_fds.size() > keeper::kMaxKept) return refuse(E2BIG, "too many descriptors to keep");
    descriptors.insert(descriptors.end(), request.kept_fds.begin(), request.kept_fds.end());
    spawn.kept_count = static_cast<std::uint16_t>(request.kept_fds.size());
  }
  if (request.home_directory && has(keeper::kFeatureHomeDirectory)) spawn.flags |= keeper::kFlagHomeDirectory;
  if (request.controlling_terminal) spawn.flags |= keeper::kFlagControllingTty;
  if (request.own_pid && has(keeper::kFeatureOwnPid)) spawn.flags |= keeper::kFlagOwnPid;
  if (request.user) {
    spawn.flags |= keeper::kFlagSwitchUser;
    spawn.uid = request.user->uid;
    spawn.gid = request.user->gid;
    spawn.group_count = static_cast<std::uint16_t>(request.user->groups.size());
    if (request.keep_bounding_set) spawn.flags |= keeper::kFlagKeepBoundingSet;
  }
  if (request.no_new_privileges) spawn.flags |= keeper::kFlagNoNewPrivileges;
  spawn.tag_bytes = static_cast<std::uint16_t>(request.tag.size());
  spawn.cgroup_tasks_count = static_cast<std::uint16_t>(request.cgroup_tasks_fds.size());
  spawn.cwd_bytes =
      request.working_directory.empty() ? 0 : static_cast<std::uint32_t>(request.working_directory.size() + 1);
  spawn.argument_count = static_cast<std::uint32_t>(request.arguments.size());
  spawn.arguments_bytes = packed_bytes(request.arguments);
  spawn.environment_count = static_cast<std::uint32_t>(request.environment.size());
  spawn.environment_bytes = packed_bytes(request.environment);
  const std::size_t total = sizeof spawn + spawn.group_count * sizeof(std::uint32_t) + spawn.tag_bytes +
                            spawn.cwd_bytes + spawn.arguments_bytes + spawn.environment_bytes;
  if (total > keeper::kMaxMessageBytes)
    return refuse(E2BIG,
                  fmt::format("command and env together are {} bytes, more than {}", total, keeper::kMaxMessageBytes));

  const std::uint32_t uid = request.user ? request.user->uid : ::geteuid();
  if (starts_waiting_ >= kMaxOutgoing) return refuse(EAGAIN, "too many starts wait already");
  const std::uint64_t id =
      remember(PendingSpawn{std::move(done), uid, request.arguments.front(), request.working_directory});
  spawn.header = header(keeper::MessageType::spawn, id);
  MessageWriter writer;
  writer.value(spawn);
  if (request.user)
    writer.bytes(std::as_bytes(std::span(request.user->groups)).first(spawn.group_count * sizeof(std::uint32_t)));
  writer.text(request.tag);
  if (spawn.cwd_bytes > 0) writer.terminated(request.working_directory);
  for (const auto& argument : request.arguments) writer.terminated(argument);
  for (const auto& variable : request.environment) writer.terminated(variable);
  send_start(uid, std::move(writer).finish(), descriptors);
}

void KeeperClient::send_start(std::uint32_t uid, std::vector<std::byte> bytes, const std::vector<int>& descriptors) {
  Lane& lane = lanes_[uid];
  if (lane.under_way < kStartsOfUser && starts_under_way_ < kStarts && lane.waiting.empty()) {
    ++lane.under_way;
    ++starts_under_way_;
    return send(std::move(bytes), descriptors);
  }
  lane.waiting.push_back(outgoing(std::move(bytes), descriptors));
  ++starts_waiting_;
}

std::optional<KeeperClient::PendingSpawn> KeeperClient::take_pending_start(std::uint64_t request_id) {
  auto pending = take_pending<PendingSpawn>(request_id);
  if (!pending) return std::nullopt;
  const auto lane = lanes_.find(pending->uid);
  if (lane != lanes_.end()) {
    --lane->second.under_way;
    --starts_under_way_;
    if (lane->second.under_way == 0 && lane->second.waiting.empty()) lanes_.erase(lane);
  }
  if (starts_waiting_ > 0) send_waiting_starts();
  return pending;
}

// One of each user in turn, as long as there is room.
void KeeperClient::send_waiting_starts() {
  for (std::size_t passed = 0; passed < lanes_.size() && starts_under_way_ < kStarts;) {
    auto lane = lanes_.upper_bound(last_lane_);
    if (lane == lanes_.end()) lane = lanes_.begin();
    last_lane_ = lane->first;
    if (lane->second.waiting.empty() || lane->second.under_way >= kStartsOfUser) {
      ++passed;
      continue;
    }
    passed = 0;
    Outgoing next = std::move(lane->second.waiting.front());
    lane->second.waiting.pop_front();
    --starts_waiting_;
    ++lane->second.under_way;
    ++starts_under_way_;
    send_owned(std::move(next));
  }
}

void KeeperClient::signal(const RunId& id, keeper::SignalScope scope, int signal_number, Answer done) {
  if (!connected()) return done(fail(ErrorKind::unavailable, "the keeper is not reachable"));
  keeper::Signal message{};
  message.header = header(keeper::MessageType::signal, remember(std::move(done)));
  message.run_id = id.raw;
  message.scope = scope;
  message.signal = signal_number;
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), {});
}

void KeeperClient::adopt(const RunId& id, std::string_view tag, std::int32_t pid, std::uint64_t start_ticks,
                         Answer done) {
  if (!connected()) return done(fail(ErrorKind::unavailable, "the keeper is not reachable"));
  keeper::Adopt message{};
  message.header = header(keeper::MessageType::adopt, remember(std::move(done)));
  message.run_id = id.raw;
  message.pid = pid;
  message.start_ticks = start_ticks;
  message.tag_bytes = static_cast<std::uint16_t>(tag.size());
  MessageWriter writer;
  writer.value(message);
  writer.text(tag);
  send(std::move(writer).finish(), {});
}

void KeeperClient::forget(const RunId& id) {
  if (!connected()) return;  // the next List shows the run again and it is forgotten then
  keeper::Forget message{};
  message.header = header(keeper::MessageType::forget, remember(Answer([](Result<void>) {})));
  message.run_id = id.raw;
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), {});
}

void KeeperClient::keep(const RunId& id, const std::vector<int>& descriptors, Answer done) {
  if (!connected() || !has(keeper::kFeatureKept)) return done(fail(ErrorKind::unavailable, "the keeper keeps nothing"));
  keeper::Keep message{};
  message.header = header(keeper::MessageType::keep, remember(std::move(done)));
  message.run_id = id.raw;
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), descriptors);
}

void KeeperClient::ask_kept(const RunId& id, KeptAnswer done) {
  if (!connected() || !has(keeper::kFeatureKept)) return done(fail(ErrorKind::unavailable, "the keeper keeps nothing"));
  keeper::AskKept message{};
  message.header = header(keeper::MessageType::ask_kept, remember(std::move(done)));
  message.run_id = id.raw;
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), {});
}

void KeeperClient::set_main(const RunId& id, std::int32_t pid, std::uint64_t start_ticks, Answer done) {
  if (!connected() || !has(keeper::kFeatureMainPid))
    return done(fail(ErrorKind::unavailable, "the keeper cannot change the main process"));
  keeper::MainPid message{};
  message.header = header(keeper::MessageType::main_pid, remember(std::move(done)));
  message.run_id = id.raw;
  message.pid = pid;
  message.start_ticks = start_ticks;
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), {});
}

void KeeperClient::list(ListAnswer done) {
  if (!connected()) return done(fail(ErrorKind::unavailable, "the keeper is not reachable"));
  listed_.clear();
  keeper::Request message{};
  message.header = header(keeper::MessageType::list, remember(std::move(done)));
  MessageWriter writer;
  writer.value(message);
  send(std::move(writer).finish(), {});
}

bool KeeperClient::try_send(const std::vector<std::byte>& bytes, const std::vector<int>& descriptors) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * keeper::kMaxDescriptors)> control{};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), sizeof(int) * descriptors.size());
  }
  while (true) {
    if (::sendmsg(descriptor_->native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return true;
    if (errno == EINTR) continue;
    // Anything but a full socket is seen, and handled, by the reader as the end of the connection.
    return errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS && errno != ETOOMANYREFS;
  }
}

void KeeperClient::send(std::vector<std::byte> bytes, const std::vector<int>& descriptors) {
  if (outgoing_.empty() && try_send(bytes, descriptors)) return;
  if (outgoing_.size() >= kMaxOutgoing) return lose();
  outgoing_.push_back(outgoing(std::move(bytes), descriptors));
  wait_writable();
}

void KeeperClient::send_owned(Outgoing message) {
  if (outgoing_.empty() && try_send(message.bytes, numbers_of(message.descriptors))) return;
  if (outgoing_.size() >= kMaxOutgoing) return lose();
  outgoing_.push_back(std::move(message));
  wait_writable();
}

KeeperClient::Outgoing KeeperClient::outgoing(std::vector<std::byte> bytes, const std::vector<int>& descriptors) {
  Outgoing message{std::move(bytes), {}};
  for (const int fd : descriptors) message.descriptors.emplace_back(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  return message;
}

void KeeperClient::wait_writable() {
  if (waiting_writable_) return;
  waiting_writable_ = true;
  descriptor_->async_wait(boost::asio::posix::stream_descriptor::wait_write,
                          [this, connection = connection_](const boost::system::error_code& error) {
                            if (error || connection != connection_) return;
                            waiting_writable_ = false;
                            while (!outgoing_.empty()) {
                              const auto& next = outgoing_.front();
                              if (!try_send(next.bytes, numbers_of(next.descriptors))) return wait_writable();
                              outgoing_.pop_front();
                            }
                          });
}

void KeeperClient::wait_readable() {
  descriptor_->async_wait(boost::asio::posix::stream_descriptor::wait_read,
                          [this, connection = connection_](const boost::system::error_code& error) {
                            if (error || connection != connection_) return;
                            read_all();
                          });
}

void KeeperClient::read_all() {
  const std::uint64_t connection = connection_;
  while (true) {
    const ssize_t got = receive();
    if (got > 0) {
      handle(buffer_.data(), static_cast<std::size_t>(got));
      if (connection != connection_ || !descriptor_) return;  // an answer led to a new connection
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return wait_readable();
    return lose();
  }
}

ssize_t KeeperClient::receive() {
  received_.clear();
  iovec part{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int) * keeper::kMaxKept)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(descriptor_->native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  for (cmsghdr* item = CMSG_FIRSTHDR(&message); item != nullptr; item = CMSG_NXTHDR(&message, item)) {
    if (item->cmsg_level != SOL_SOCKET || item->cmsg_type != SCM_RIGHTS) continue;
    std::array<int, keeper::kMaxKept> numbers{};
    const std::size_t bytes = std::min(item->cmsg_len - CMSG_LEN(0), sizeof numbers);
    std::memcpy(numbers.data(), CMSG_DATA(item), bytes);
    for (std::size_t i = 0; i < bytes / sizeof(int); ++i) received_.emplace_back(numbers[i]);
  }
  return got;
}

void KeeperClient::handle(const std::byte* data, std::size_t size) {
  keeper::Header head{};
  if (!read_as(data, size, head) || head.size != size) return;
  switch (head.type) {
    case keeper::MessageType::exited: {
      keeper::Exited message{};
      if (!read_as(data, size, message)) return;
      const RunId id{message.run_id};
      const RunExit exit = to_exit(message.exit, message.flags);
      // It may have been listed as living a moment ago, in a list that is not complete yet.
      for (KnownRun& listed : listed_)
        if (listed.id == id) listed.exit = exit;
      handlers_.on_exited(id, exit);
      return;
    }
    case keeper::MessageType::spawned: {
      keeper::Started message{};
      if (!read_as(data, size, message)) return;
      if (auto start = take_pending_start(head.request_id))
        start->done(SpawnedRun{message.pid, message.start_ticks, wall_time(message.started_us)});
      return;
    }
    case keeper::MessageType::spawn_failed: {
      keeper::SpawnFailed message{};
      if (!read_as(data, size, message)) return;
      if (auto start = take_pending_start(head.request_id))
        start->done(std::unexpected(SpawnFailure{message.step, message.error,
                                                 failure_text(message, trailing_texts(data, size, sizeof message),
                                                              start->program, start->directory, start->uid)}));
      return;
    }
    case keeper::MessageType::run: {
      keeper::Run message{};
      if (!read_as(data, size, message) || size < sizeof message + message.tag_bytes) return;
      KnownRun run;
      run.id = RunId{message.run_id};
      run.tag.assign(reinterpret_cast<const char*>(data) + sizeof message, message.tag_bytes);
      run.pid = message.pid;
      run.sequence = message.sequence;
      run.start_ticks = message.start_ticks;
      run.started = wall_time(message.started_us);
      run.adopted = (message.flags & keeper::kRunAdopted) != 0;
      if (message.state == keeper::RunState::exited) run.exit = to_exit(message.exit, message.flags);
      listed_.push_back(std::move(run));
      return;
    }
    case keeper::MessageType::list_end:
      if (auto done = take_pending<ListAnswer>(head.request_id)) (*done)(std::exchange(listed_, {}));
      return;
    case keeper::MessageType::done:
    case keeper::MessageType::adopted:
      if (auto done = take_pending<Answer>(head.request_id)) (*done)({});
      return;
    case keeper::MessageType::kept:
      if (auto done = take_pending<KeptAnswer>(head.request_id)) (*done)(std::exchange(received_, {}));
      return;
    case keeper::MessageType::error: {
      keeper::Error message{};
      if (!read_as(data, size, message)) return;
      const std::string text(message.message, ::strnlen(message.message, sizeof message.message));
      if (auto answer = take_pending<Answer>(head.request_id)) return (*answer)(fail(ErrorKind::internal, text));
      if (auto start = take_pending_start(head.request_id))
        return start->done(std::unexpected(SpawnFailure{keeper::SpawnStep::none, message.error, text}));
      if (auto list = take_pending<ListAnswer>(head.request_id)) return (*list)(fail(ErrorKind::internal, text));
      if (auto kept = take_pending<KeptAnswer>(head.request_id)) return (*kept)(fail(ErrorKind::internal, text));
      return;
    }
    default:
      return;  // a newer keeper may say more than we know
  }
}

void KeeperClient::lose() {
  if (!descriptor_) return;
  descriptor_.reset();
  ++connection_;
  waiting_writable_ = false;
  outgoing_.clear();
  lanes_.clear();
  starts_under_way_ = starts_waiting_ = 0;
  auto pending = std::exchange(pending_, {});
  for (auto& [id, answer] : pending) {
    if (auto* start = std::get_if<PendingSpawn>(&answer))
      start->done(std::unexpected(SpawnFailure{keeper::SpawnStep::none, ECONNRESET, "the keeper went away"}));
    else if (auto* list = std::get_if<ListAnswer>(&answer))
      (*list)(fail(ErrorKind::unavailable, "the keeper went away"));
    else if (auto* kept = std::get_if<KeptAnswer>(&answer))
      (*kept)(fail(ErrorKind::unavailable, "the keeper went away"));
    else
      std::get<Answer>(answer)(fail(ErrorKind::unavailable, "the keeper went away"));
  }
  handlers_.on_lost();
}

}  // namespace appmesh::runtime

// Starts that hang in the kernel: on a file system that never answers, on a leased file, in a frozen cgroup. Nobody
// else waits for them, nobody's memory is used while they may still look at it, and what becomes of them is told.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <thread>

#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>

#include "keeper/keeper_harness.h"
#include "keeper/spawn.h"

namespace appmesh::keeper::test {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t kUser = 65534;
constexpr std::uint32_t kOther = 65533;

// A file system with any number of copies of the shell, each of which is opened only when the test says so. Until then
// whoever executes one is held in the kernel; after the request was read not even SIGKILL gets it out.
class SlowFiles {
 public:
  explicit SlowFiles(const std::filesystem::path& directory) : directory_(directory) {
    device_.reset(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device_) return;
    std::filesystem::create_directory(directory_);
    const std::string options =
        "fd=" + std::to_string(device_.get()) + ",rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions";
    if (::mount("test", directory_.c_str(), "fuse", MS_NODEV, options.c_str()) != 0) {
      device_.reset();
      return;
    }
    server_ = std::thread([this] { serve(); });
  }
  ~SlowFiles() {
    if (!device_) return;
    release_all();
    ::umount2(directory_.c_str(), MNT_DETACH);
    ending_ = true;
    server_.join();
  }
  SlowFiles(const SlowFiles&) = delete;
  SlowFiles& operator=(const SlowFiles&) = delete;

  bool mounted() const { return static_cast<bool>(device_); }
  std::string program(std::uint32_t number) const { return (directory_ / std::to_string(number)).string(); }
  std::size_t held() const { return held_count_; }
  // Answers those that are held now, and those to come.
  void release_all() { releasing_ = true; }
  void hold() { releasing_ = false; }
  // Answers about half of those that are held now.
  void release_some() { release_some_ = true; }

 private:
  template <typename T>
  void reply(std::uint64_t unique, const T& body) {
    struct {
      fuse_out_header header;
      T body;
    } message{.header = {.len = sizeof(fuse_out_header) + sizeof(T), .error = 0, .unique = unique}, .body = body};
    (void)!::write(device_.get(), &message, message.header.len);
  }
  void fail(std::uint64_t unique, int error) {
    const fuse_out_header header{.len = sizeof header, .error = -error, .unique = unique};
    (void)!::write(device_.get(), &header, sizeof header);
  }
  fuse_attr attributes(std::uint64_t node) {
    fuse_attr attr{};
    attr.ino = node;
    attr.mode = node == 1 ? S_IFDIR | 0755 : S_IFREG | 0755;
    attr.nlink = 1;
    attr.size = node == 1 ? 0 : static_cast<std::uint64_t>(std::filesystem::file_size("/bin/sh"));
    return attr;
  }
  void open_held(std::uint64_t unique) {
    fuse_open_out out{};
    out.fh = 1;
    reply(unique, out);
  }

  void serve() {
    std::vector<char> buffer(1 << 17);
    std::mt19937 random(1);
    while (!ending_) {
      if (releasing_ || release_some_) {
        std::vector<std::uint64_t> still;
        for (const std::uint64_t unique : held_) {
          if (releasing_ || random() % 2 == 0) {
            open_held(unique);
          } else {
            still.push_back(unique);
          }
        }
        held_ = still;
        held_count_ = held_.size();
        release_some_ = false;
      }
      pollfd ready{.fd = device_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&ready, 1, 1) != 1) continue;
      const ssize_t length = ::read(device_.get(), buffer.data(), buffer.size());
      if (length < static_cast<ssize_t>(sizeof(fuse_in_header))) {
        if (errno == ENODEV) return;
        continue;
      }
      fuse_in_header head{};
      std::memcpy(&head, buffer.data(), sizeof head);
      answer(head, buffer.data() + sizeof head);
    }
  }

  void answer(const fuse_in_header& head, const char* body) {
    switch (head.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = FUSE_KERNEL_MINOR_VERSION;
        out.max_readahead = 4096;
        out.max_write = 4096;
        out.max_background = 200;
        return reply(head.unique, out);
      }
      case FUSE_LOOKUP: {
        fuse_entry_out out{};
        out.nodeid = 1000 + static_cast<std::uint64_t>(std::atoll(body));
        out.entry_valid = out.attr_valid = 0;
        out.attr = attributes(out.nodeid);
        return reply(head.unique, out);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(head.nodeid);
        return reply(head.unique, out);
      }
      case FUSE_OPEN:
        if (releasing_) return open_held(head.unique);
        held_.push_back(head.unique);
        held_count_ = held_.size();
        return;
      case FUSE_READ: {
        fuse_read_in in{};
        std::memcpy(&in, body, sizeof in);
        std::vector<char> message(sizeof(fuse_out_header) + in.size);
        const ssize_t got = ::pread(shell_.get(), message.data() + sizeof(fuse_out_header), in.size, in.offset);
        const fuse_out_header out{
            .len = static_cast<std::uint32_t>(sizeof(fuse_out_header) + std::max<ssize_t>(got, 0)),
            .error = 0,
            .unique = head.unique};
        std::memcpy(message.data(), &out, sizeof out);
        (void)!::write(device_.get(), message.data(), out.len);
        return;
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:  // this one does not let go
        return;
      case FUSE_RELEASE:
      case FUSE_FLUSH:
        return fail(head.unique, 0);
      default:
        return fail(head.unique, ENOSYS);
    }
  }

  std::filesystem::path directory_;
  Descriptor device_;
  const Descriptor shell_{::open("/bin/sh", O_RDONLY | O_CLOEXEC)};
  std::vector<std::uint64_t> held_;
  std::atomic<std::size_t> held_count_ = 0;
  std::atomic<bool> releasing_ = false;
  std::atomic<bool> release_some_ = false;
  std::atomic<bool> ending_ = false;
  std::thread server_;
};

class HangingStarts : public KeeperTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root: FUSE mounts and other users";
    KeeperTest::SetUp();
    std::filesystem::permissions(home_, std::filesystem::perms(0755));
    slow_.emplace(home_ / "slow");
    ASSERT_TRUE(slow_->mounted()) << "no FUSE here: " << std::strerror(errno);
  }
  void TearDown() override {
    if (slow_) slow_->release_all();
    KeeperTest::TearDown();
  }
  SpawnOptions as(std::uint32_t uid, std::uint32_t id, std::vector<std::string> arguments) {
    return {.id = make_id(id), .arguments = std::move(arguments), .flags = kFlagSwitchUser, .uid = uid, .gid = uid};
  }
  // Sent, and not waited for.
  std::uint64_t ask(Client& client, const SpawnOptions& options) {
    const std::uint64_t request = client.next_request();
    const auto bytes = pack(options, request);
    client.send(bytes.data(), bytes.size(), options.descriptors);
    return request;
  }

  std::optional<SlowFiles> slow_;
};

TEST_F(HangingStarts, hold_up_nobody_elses) {
  Client client(home_);
  const std::uint64_t hanging = ask(client, as(kUser, 1, {slow_->program(1), "-c", "true"}));
  ASSERT_TRUE(eventually([&] { return slow_->held() == 1; }));
  EXPECT_EQ(client.spawn(as(kOther, 2, {"true"})).type(), MessageType::spawned);
  EXPECT_FALSE(client.is_answered(hanging)) << "the other had to wait for it";
  EXPECT_EQ(slow_->held(), 1U);
  slow_->release_all();
  EXPECT_EQ(client.answer(hanging).type(), MessageType::spawned) << "it was in time";
  EXPECT_EQ(client.wait_exit(make_id(1)).exit.wait_status, 0);
}

TEST_F(HangingStarts, on_a_leased_program_hold_up_nobody_elses) {
  const std::string program = (home_ / "leased").string();
  std::filesystem::copy_file("/bin/true", program);
  const Descriptor lease{::open(program.c_str(), O_RDONLY | O_CLOEXEC)};
  ::signal(SIGIO, SIG_IGN);
  ASSERT_EQ(::fcntl(lease.get(), F_SETLEASE, F_WRLCK), 0) << std::strerror(errno);
  Client client(home_);
  const std::uint64_t hanging = ask(client, as(kUser, 1, {program}));
  ASSERT_TRUE(eventually([&] { return ::fcntl(lease.get(), F_GETLEASE) != F_WRLCK; })) << "nobody wants it";
  EXPECT_EQ(client.spawn(as(kOther, 2, {"true"})).type(), MessageType::spawned);
  EXPECT_FALSE(client.is_answered(hanging)) << "the other had to wait for it";
  const auto failed = client.answer(hanging).as<SpawnFailed>(MessageType::spawn_failed);
  EXPECT_EQ(std::pair(failed.step, failed.error), std::pair(SpawnStep::exec, ETIMEDOUT));
  EXPECT_EQ(client.spawn(as(kUser, 3, {"true"})).type(), MessageType::spawned);
}

TEST_F(HangingStarts, are_counted_for_their_user_until_the_kernel_lets_them_go) {
  restart_keeper({"--start-limit", "300"});
  Client client(home_);
  std::vector<std::uint64_t> hanging;
  for (std::uint32_t i = 1; i <= kMaxStartsOfUser; ++i)
    hanging.push_back(ask(client, as(kUser, i, {slow_->program(i), "-c", "true"})));
  ASSERT_TRUE(eventually([&] { return slow_->held() == kMaxStartsOfUser; })) << slow_->held();
  const auto refused = [&](std::uint32_t id) {
    const auto failed = client.spawn_failure(as(kUser, id, {"true"}));
    EXPECT_EQ(std::pair(failed.step, failed.error), std::pair(SpawnStep::admission, EAGAIN));
    EXPECT_EQ(failed.detail, kMaxStartsOfUser);
  };
  for (const std::uint64_t request : hanging)
    EXPECT_EQ(client.answer(request).as<SpawnFailed>(MessageType::spawn_failed).error, ETIMEDOUT);
  EXPECT_EQ(slow_->held(), kMaxStartsOfUser) << "killed, and still there";
  refused(102);
  EXPECT_EQ(client.spawn(as(kOther, 103, {"true"})).type(), MessageType::spawned);
  EXPECT_EQ(client.find(make_id(1)), std::nullopt) << "a failed start leaves nothing in the table";
  slow_->release_all();
  EXPECT_TRUE(eventually([&] { return client.spawn(as(kUser, 104, {"true"})).type() == MessageType::spawned; }));
}

TEST_F(HangingStarts, may_be_asked_for_again_under_the_same_id) {
  restart_keeper({"--start-limit", "100"});
  Client client(home_);
  const SpawnOptions options = as(kUser, 1, {slow_->program(1), "-c", "exit 5"});
  EXPECT_EQ(client.spawn_failure(options).error, ETIMEDOUT);
  EXPECT_EQ(client.spawn_failure(options).error, ETIMEDOUT);
  slow_->release_all();
  EXPECT_EQ(client.spawn(options).type(), MessageType::spawned);
  EXPECT_EQ(WEXITSTATUS(client.wait_exit(options.id).exit.wait_status), 5);
}

TEST_F(HangingStarts, are_in_the_list_that_a_next_daemon_asks_for) {
  {
    Client first(home_);
    ask(first, as(kUser, 1, {slow_->program(1), "-c", "sleep 100"}));
    ASSERT_TRUE(eventually([&] { return slow_->held() == 1; }));
  }
  Client next(home_);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    slow_->release_all();
  });
  const auto runs = next.list();
  later.join();
  ASSERT_EQ(runs.size(), 1U) << "else it would be started twice";
  EXPECT_EQ(runs[0].first.run_id, make_id(1));
  next.hello();  // no answer to the start, which nobody here asked for, comes before this one
}

TEST_F(HangingStarts, make_a_reexec_wait_and_those_given_up_do_not) {
  restart_keeper({"--start-limit", "500"});
  Client client(home_);
  const std::uint64_t hanging = ask(client, as(kUser, 1, {slow_->program(1), "-c", "true"}));
  ASSERT_TRUE(eventually([&] { return slow_->held() == 1; }));
  Reexec request{};
  request.header.type = MessageType::reexec;
  EXPECT_EQ(as_error(client.ask(request)).error, EBUSY);
  EXPECT_EQ(client.answer(hanging).as<SpawnFailed>(MessageType::spawn_failed).error, ETIMEDOUT);
  EXPECT_EQ(client.ask(request).type(), MessageType::done);
  EXPECT_TRUE(client.list().empty());
  slow_->release_all();
  EXPECT_EQ(client.spawn(as(kUser, 1, {"true"})).type(), MessageType::spawned);
}

TEST_F(HangingStarts, of_a_keeper_that_is_killed_are_no_runs_of_the_next) {
  restart_keeper({"--start-limit", "100"});
  {
    Client client(home_);
    EXPECT_EQ(client.spawn_failure(as(kUser, 1, {slow_->program(1), "-c", "sleep 100"})).error, ETIMEDOUT);
  }
  kill_keeper(SIGKILL);
  start_keeper();
  Client client(home_);
  EXPECT_TRUE(client.list().empty());
  slow_->release_all();
  EXPECT_TRUE(client.list().empty());
}

// What a late child may do to others: read their plan (another's command, another's user), overwrite their outcome, or
// clear their word. So each run says who it is, at moments before, at and after the time limit.
TEST_F(HangingStarts, never_run_as_another_or_disturb_one) {
  const std::uint32_t rounds = std::getenv("APPMESH_TEST_LONG") != nullptr ? 1000 : 30;
  restart_keeper({"--start-limit", "40"});
  const pid_t keeper = keeper_;
  std::mt19937 random(std::random_device{}());
  std::filesystem::create_directory(home_ / "marks");
  std::filesystem::permissions(home_ / "marks", std::filesystem::perms(0777));
  Client client(home_);
  std::map<std::uint32_t, std::uint32_t> owner;  // of each mark
  std::uint32_t id = 0;
  for (std::uint32_t round = 0; round < rounds; ++round) {
    std::map<std::uint64_t, std::uint32_t> asked;
    const auto start = [&](std::uint32_t uid, bool slow) {
      const std::uint32_t number = ++id;
      owner[number] = uid;
      const std::string mark = (home_ / "marks" / std::to_string(number)).string();
      std::vector<std::string> arguments = {slow ? slow_->program(number) : "/bin/sh", "-c",
                                            "echo $(id -u) $SECRET >>" + mark};
      SpawnOptions options = as(uid, number, std::move(arguments));
      options.environment.push_back("SECRET=of-" + std::to_string(number));
      asked[ask(client, options)] = number;
    };
    start(kUser, true);
    start(kUser, true);
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 60));
    start(kOther, false);
    start(0, false);
    if (random() % 2 == 0) slow_->release_some();
    start(kOther, false);
    if (round % 8 == 7) {
      slow_->release_all();
      ASSERT_TRUE(eventually([&] { return slow_->held() == 0; }));
      slow_->hold();
    }
    for (const auto& [request, number] : asked) {
      const Message answer = client.answer(request);
      if (answer.type() == MessageType::spawned) {
        client.wait_exit(make_id(number));
        client.forget(make_id(number));
        EXPECT_EQ(read_file("marks/" + std::to_string(number)),
                  std::to_string(owner[number]) + " of-" + std::to_string(number) + "\n");
        continue;
      }
      const auto failed = answer.as<SpawnFailed>(MessageType::spawn_failed);
      EXPECT_EQ(failed.run_id, make_id(number));
      EXPECT_EQ(failed.error, ETIMEDOUT) << to_string(failed.step);  // also one that is only slow
    }
    ASSERT_FALSE(HasFailure()) << "round " << round;
  }
  slow_->release_all();
  ASSERT_TRUE(eventually([&] { return slow_->held() == 0; }));
  EXPECT_TRUE(client.list().empty());
  EXPECT_EQ(client.hello().pid, keeper) << "the keeper lived through it";
  for (const auto& [number, uid] : owner) {
    const std::string mark = read_file("marks/" + std::to_string(number));
    if (!mark.empty()) EXPECT_EQ(mark, std::to_string(uid) + " of-" + std::to_string(number) + "\n");
  }
}

}  // namespace
}  // namespace appmesh::keeper::test

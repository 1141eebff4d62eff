// The daemon's end of the keeper's protocol (keeper/protocol.h): one connection, answers matched by request id, exits
// handed on as they come. Owned by the engine and used only on its thread; nothing here blocks but connect(), which
// runs on a thread of its own and comes back by itself. When the connection is lost every waiting request is answered
// with an error and on_lost runs once; the owner decides when to connect again.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/error.h"
#include "core/time.h"
#include "keeper/protocol.h"
#include "platform/unique_fd.h"
#include "runtime/run_id.h"

namespace appmesh::runtime {

struct SpawnRequest {
  RunId id;
  std::string tag;                       // <= keeper::kMaxTagBytes, opaque to the keeper
  std::vector<std::string> arguments;    // [0] is the program
  std::vector<std::string> environment;  // NAME=value
  std::string working_directory;
  bool home_directory = false;        // it is a home: where it cannot be entered, the run is told and starts in "/"
  int stdin_fd = -1;                  // borrowed until spawn() returns; -1: /dev/null
  int output_fd = -1;                 // stdout and stderr; -1: /dev/null
  int cgroup_fd = -1;                 // directory of a v2 cgroup; -1: none
  std::vector<int> cgroup_tasks_fds;  // `cgroup.procs` of v1 controllers, opened for writing
  struct User {
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::vector<std::uint32_t> groups;
  };
  std::optional<User> user;  // absent: the keeper's own
  bool no_new_privileges = false;
  bool keep_bounding_set = false;     // with user: sudo and its like may work
  std::vector<int> kept_fds;          // the keeper holds copies as long as it knows the run; see keeper/protocol.h
  bool controlling_terminal = false;  // stdin_fd is a terminal, which becomes that of the session
  bool own_pid = false;               // the value of the last variable, ten characters, becomes the child's pid
};

struct SpawnFailure {
  keeper::SpawnStep step = keeper::SpawnStep::none;
  int error = 0;        // errno
  std::string message;  // "exec: /opt/web/server: Permission denied"
};

struct SpawnedRun {
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;
  core::WallTime started;
};

// How a run ended, in the wire's terms.
struct RunExit {
  int return_code = 0;  // exit status, or minus the signal
  bool known = true;
  core::WallTime ended;
  std::uint64_t max_rss_bytes = 0;
  std::chrono::microseconds cpu{0};
};

struct KnownRun {  // one line of the keeper's table
  RunId id;
  std::string tag;
  std::int32_t pid = 0;
  std::uint64_t sequence = 0;
  std::uint64_t start_ticks = 0;
  core::WallTime started;
  bool adopted = false;
  std::optional<RunExit> exit;  // absent: it lives
};

class KeeperClient {
 public:
  using SpawnAnswer = std::move_only_function<void(std::expected<SpawnedRun, SpawnFailure>)>;
  using Answer = std::move_only_function<void(Result<void>)>;
  using KeptAnswer = std::move_only_function<void(Result<std::vector<platform::UniqueFd>>)>;
  using ListAnswer = std::move_only_function<void(Result<std::vector<KnownRun>>)>;

  struct Handlers {
    std::function<void(const RunId&, const RunExit&)> on_exited;
    std::function<void()> on_lost;
  };

  KeeperClient(boost::asio::io_context& context, std::filesystem::path home, std::filesystem::path keeper_program,
               Handlers handlers);
  ~KeeperClient();
  KeeperClient(const KeeperClient&) = delete;
  KeeperClient& operator=(const KeeperClient&) = delete;

  // Connects to HOME/run/keeper.sock, starting the program with --detach when nobody listens. `done` runs on the engine
  // thread. Errors: the keeper cannot be started, or speaks another version.
  void connect(Answer done);
  [[nodiscard]] bool connected() const { return descriptor_.has_value(); }
  [[nodiscard]] std::int32_t keeper_pid() const { return keeper_pid_; }

  // `done` never runs inside the call, and always before the run's exit is handed on. Starts of one OS user beyond
  // kStartsOfUser wait here for those before them, so that a user whose programs hang holds up nobody else.
  void spawn(const SpawnRequest& request, SpawnAnswer done);
  void signal(const RunId& id, keeper::SignalScope scope, int signal_number, Answer done);
  void adopt(const RunId& id, std::string_view tag, std::int32_t pid, std::uint64_t start_ticks, Answer done);
  void forget(const RunId& id);
  // Whether the keeper has a feature (keeper::Feature); one that was started by an older daemon may lack it.
  [[nodiscard]] bool has(keeper::Feature feature) const { return (features_ & feature) != 0; }
  // Descriptors to hold for a run, besides those it keeps already; borrowed until the call returns.
  void keep(const RunId& id, const std::vector<int>& descriptors, Answer done);
  // Copies of all that are held for a run, in the order in which they were given.
  void ask_kept(const RunId& id, KeptAnswer done);
  // Another process stands for the run from now on.
  void set_main(const RunId& id, std::int32_t pid, std::uint64_t start_ticks, Answer done);
  void list(ListAnswer done);

 private:
  struct PendingSpawn {
    SpawnAnswer done;
    std::uint32_t uid = 0;
    std::string program;
    std::string directory;
  };
  using Pending = std::variant<PendingSpawn, Answer, ListAnswer, KeptAnswer>;
  struct Outgoing {
    std::vector<std::byte> bytes;
    std::vector<platform::UniqueFd> descriptors;
  };
  struct Lane {  // starts of one OS user
    std::size_t under_way = 0;
    std::deque<Outgoing> waiting;
  };

  void take_connection(platform::UniqueFd socket, const keeper::HelloReply& hello);
  void wait_readable();
  void read_all();
  void handle(const std::byte* data, std::size_t size);
  [[nodiscard]] ssize_t receive();
  void send(std::vector<std::byte> bytes, const std::vector<int>& descriptors);
  void send_start(std::uint32_t uid, std::vector<std::byte> bytes, const std::vector<int>& descriptors);
  std::optional<PendingSpawn> take_pending_start(std::uint64_t request_id);
  void send_waiting_starts();
  void send_owned(Outgoing message);
  static Outgoing outgoing(std::vector<std::byte> bytes, const std::vector<int>& descriptors);
  bool try_send(const std::vector<std::byte>& bytes, const std::vector<int>& descriptors);
  void wait_writable();
  void lose();
  std::uint64_t remember(Pending pending);
  template <typename T>
  std::optional<T> take_pending(std::uint64_t request_id);

  boost::asio::io_context& context_;
  std::filesystem::path home_;
  std::filesystem::path keeper_program_;
  Handlers handlers_;
  std::optional<boost::asio::posix::stream_descriptor> descriptor_;
  std::thread connector_;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::vector<KnownRun> listed_;
  std::deque<Outgoing> outgoing_;
  std::map<std::uint32_t, Lane> lanes_;  // by uid
  std::uint32_t last_lane_ = 0;          // that was served; the next one is due
  std::size_t starts_under_way_ = 0;
  std::size_t starts_waiting_ = 0;
  std::vector<std::byte> buffer_;
  std::vector<platform::UniqueFd> received_;  // came with the message in the buffer
  std::uint64_t next_request_ = 1;
  std::uint64_t connection_ = 0;  // tells a late wait of an old connection from one of the present
  std::int32_t keeper_pid_ = 0;
  std::uint32_t features_ = 0;
  bool waiting_writable_ = false;
};

}  // namespace appmesh::runtime

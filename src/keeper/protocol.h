// The wire protocol between appsvc and appkeeper: one fixed struct per message, one message per datagram of a unix
// SOCK_SEQPACKET socket (HOME/run/keeper.sock), native byte order because both ends are on one host.
// Plain data with no owner and no code that can fail: every thread of either program may use it.
//
// Rules of the conversation
// - The first request of a connection is Hello; anything else before it costs Error EPROTO. A newer connection
//   replaces the older one, which is closed.
// - Every request carries a request_id chosen by the daemon (not 0). Exactly one answer echoes it: the answer named
//   beside the request, or Error (or SpawnFailed for a Spawn). List answers with many Run messages and one ListEnd.
// - Exited is the only message that nobody asked for (request_id 0). An exit that happens after Hello is sent once on
//   that connection; older exits are seen with List. An exit during a List may be seen both ways: be idempotent.
// - An exited run stays in the table, over connections and keepers, until Forget. A failed spawn leaves nothing there.
// - The keeper answers requests in order, stops reading while its answers do not fit into the socket, and never waits
//   for a child. So the answer to a Spawn comes when its child has exec'ed or has failed, and other answers may come
//   before it; the run's own exit never does. A List is answered when every spawn asked for before it has been decided,
//   over connections too, so that no run is missed.
// - A child that does not come to exec within kSpawnTimeoutSeconds is killed and SpawnFailed ETIMEDOUT. Should the
//   kernel hold on to it even then, it goes on to count. A user has at most kMaxStartsOfUser starts that are under way
//   or held, all users together kMaxStarts. Who wants more waits as long as some of them are young, and then gets
//   SpawnFailed EAGAIN at the step `admission`.
// - Spawn is idempotent by run id: an id that the table has answers Error EEXIST and starts nothing.
// - A run may have kept descriptors: the keeper holds them, looks at none, and gives copies to whoever asks, so that
//   what waits in a socket or a terminal is there for the next daemon. They are closed with Forget. A re-exec carries
//   them over; a keeper that is killed loses them, and the daemon gives them again (Keep). What each of them is, is
//   the daemon's business: their order is the order in which they were given.
// - Malformed requests cost an Error (EBADMSG, EINVAL, E2BIG) that names the field; the connection lives on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace appmesh::keeper {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::size_t kMaxMessageBytes = 192 * 1024;  // a whole Spawn: below the kernel's default SO_SNDBUF
inline constexpr std::size_t kMaxTagBytes = 384;
inline constexpr std::size_t kMaxGroups = 1024;
inline constexpr std::size_t kMaxRlimits = 16;
inline constexpr std::size_t kMaxArguments = 4096;
inline constexpr std::size_t kMaxEnvironment = 4096;
inline constexpr std::size_t kMaxCgroupTasks = 8;
inline constexpr std::size_t kMaxKept = 4;  // descriptors that the keeper holds for one run
inline constexpr std::size_t kMaxDescriptors =
    4 + kMaxCgroupTasks + kMaxKept;             // stdin, stdout, stderr, cgroup v2, tasks of v1, kept
inline constexpr int kSpawnTimeoutSeconds = 3;  // then SpawnFailed ETIMEDOUT: a directory or file that never answers
inline constexpr std::size_t kMaxStarts = 256;  // under way, or held by the kernel after that time
inline constexpr std::size_t kMaxStartsOfUser = 32;  // of those, for one uid
inline constexpr std::size_t kMaxPathBytes = 4096;
inline constexpr std::size_t kMaxFailureText = 384;    // after a SpawnFailed
inline constexpr std::uint32_t kSlotCapacity = 65535;  // runs, living and exited together

// Names below HOME/run. The paths may be longer than sun_path: open the directory and use
// /proc/self/fd/<fd>/keeper.sock.
inline constexpr char kSocketName[] = "keeper.sock";
inline constexpr char kJournalName[] = "keeper.journal";
inline constexpr char kLogName[] = "keeper.log";

// Chosen by the daemon, random, never all zero.
struct RunId {
  std::uint8_t bytes[16];
  friend bool operator==(const RunId&, const RunId&) = default;
};

enum class MessageType : std::uint16_t {
  // Requests, and in the comment their answer.
  hello = 1,      // Hello -> HelloReply
  spawn = 2,      // Spawn -> Started (type spawned) or SpawnFailed
  signal = 3,     // Signal -> Done, count = processes (1 for a group) that were signalled
  list = 4,       // Request -> Run * n, ListEnd
  adopt = 5,      // Adopt -> Started (type adopted)
  forget = 6,     // Forget -> Done
  reexec = 7,     // Reexec -> Done, sent by the new program on the same connection
  keep = 8,       // Keep with descriptors -> Done, count = descriptors that are kept now
  ask_kept = 9,   // AskKept -> Kept with the descriptors
  main_pid = 10,  // MainPid -> Done
  // Answers.
  hello_reply = 65,
  spawned = 66,
  spawn_failed = 67,
  done = 68,
  run = 69,
  list_end = 70,
  adopted = 71,
  error = 72,
  kept = 73,
  // Events.
  exited = 129,
};

// Opens every message. size is that of the whole datagram and must match it.
struct Header {
  MessageType type;
  std::uint16_t reserved;
  std::uint32_t size;
  std::uint64_t request_id;
};

// A request with nothing more to say: List.
struct Request {
  Header header;
};

struct Hello {
  Header header;
  std::uint32_t version;  // kProtocolVersion of the daemon; the keeper answers in its own and both decide
  std::uint32_t reserved[7];
};

struct HelloReply {
  Header header;
  std::uint32_t version;
  std::int32_t pid;
  std::uint32_t slots_capacity;
  std::uint32_t slots_used;
  std::uint64_t generation;  // grows by one with each keeper that opened this journal; re-exec does not change it
  std::int64_t started_us;   // CLOCK_REALTIME
  std::uint32_t max_message_bytes;
  std::uint32_t features;    // Feature; 0 from keepers older than the first of them
  char boot_id[40];          // /proc/sys/kernel/random/boot_id, NUL-terminated
  char program_version[32];  // NUL-terminated
};

// HelloReply::features.
enum Feature : std::uint32_t {
  kFeatureKept = 1U << 0,           // Spawn::kept_count, Keep, AskKept
  kFeatureOwnPid = 1U << 1,         // kFlagOwnPid
  kFeatureMainPid = 1U << 2,        // MainPid
  kFeatureHomeDirectory = 1U << 3,  // kFlagHomeDirectory
};

// Spawn::flags. The descriptors come with SCM_RIGHTS in the order of the bits, each only when its flag is set:
// stdin, stdout, stderr, cgroup; then cgroup_tasks_count and kept_count descriptors. Their number must match exactly.
enum SpawnFlag : std::uint32_t {
  kFlagStdin = 1U << 0,             // else /dev/null
  kFlagStdout = 1U << 1,            // also stderr unless kFlagStderr; else /dev/null
  kFlagStderr = 1U << 2,            // a stderr of its own
  kFlagCgroup = 1U << 3,            // O_PATH or O_RDONLY descriptor of a cgroup v2 directory: the child is born in it
  kFlagSwitchUser = 1U << 8,        // setgroups, setgid, setuid, and (unless uid is 0) no capability is kept
  kFlagNoNewPrivileges = 1U << 9,   // PR_SET_NO_NEW_PRIVS
  kFlagControllingTty = 1U << 10,   // stdin is a terminal and becomes the controlling one (TIOCSCTTY)
  kFlagKeepBoundingSet = 1U << 11,  // with kFlagSwitchUser: sudo, ping and their like go on working in the child
  kFlagProgramFirst = 1U << 12,     // the first argument is the program, the second is argv[0] (login shells)
  kFlagOwnPid = 1U << 13,           // the value of the last variable, ten characters or more, becomes the child's pid
  kFlagHomeDirectory = 1U << 14,    // cwd is a home: where it cannot be entered, stderr is told and "/" will do
};
inline constexpr std::uint32_t kKnownSpawnFlags =
    kFlagStdin | kFlagStdout | kFlagStderr | kFlagCgroup | kFlagSwitchUser | kFlagNoNewPrivileges |
    kFlagControllingTty | kFlagKeepBoundingSet | kFlagProgramFirst | kFlagOwnPid | kFlagHomeDirectory;

struct Rlimit {
  std::uint32_t resource;  // RLIMIT_*
  std::uint32_t reserved;
  std::uint64_t soft;  // UINT64_MAX is RLIM_INFINITY
  std::uint64_t hard;
};

// Followed, without gaps, by: Rlimit[rlimit_count], uint32 groups[group_count], tag, cwd, arguments, environment.
// The last three are runs of NUL-terminated strings. cwd_bytes 0 means "/", else it counts one string with its NUL.
// argv[0] is the program: with a '/' it is used as it is (relative to cwd), else it is looked for along PATH of the
// *given* environment (or /usr/local/bin:/usr/bin:/bin). A text without "#!" is run by /bin/sh. The child starts with
// setsid, default signals, umask 022, and no descriptor but 0, 1 and 2. It is not told when the keeper dies.
struct Spawn {
  Header header;
  RunId run_id;
  std::uint32_t flags;  // SpawnFlag
  std::uint32_t uid;    // uid and gid are used only with kFlagSwitchUser
  std::uint32_t gid;
  std::uint16_t group_count;         // supplementary groups, <= kMaxGroups
  std::uint16_t rlimit_count;        // <= kMaxRlimits
  std::uint16_t tag_bytes;           // opaque to the keeper, <= kMaxTagBytes, given back by List
  std::uint16_t cgroup_tasks_count;  // write-opened `cgroup.procs` or `tasks` of v1 controllers, <= kMaxCgroupTasks
  std::uint32_t cwd_bytes;
  std::uint32_t argument_count;  // 1..kMaxArguments
  std::uint32_t arguments_bytes;
  std::uint32_t environment_count;  // <= kMaxEnvironment
  std::uint32_t environment_bytes;
  std::uint16_t kept_count;      // <= kMaxKept
  std::uint16_t reserved_short;  // zero
  std::uint32_t reserved[9];     // zero
};

// Answers spawn (type spawned: the exec has succeeded) and adopt (type adopted).
struct Started {
  Header header;
  RunId run_id;
  std::int32_t pid;
  std::uint32_t reserved;
  std::uint64_t start_ticks;  // field 22 of /proc/pid/stat
  std::int64_t started_us;    // CLOCK_REALTIME
};

enum class SpawnStep : std::uint32_t {
  none = 0,
  fork = 1,          // clone3: process limits, pids controller
  cgroup = 2,        // entering the v2 directory
  cgroup_tasks = 3,  // entering a v1 controller; detail is its index
  setsid = 4,
  standard_input = 5,
  standard_output = 6,
  standard_error = 7,
  close_descriptors = 8,
  terminal = 9,
  rlimit = 10,  // detail is the resource
  groups = 11,
  gid = 12,
  uid = 13,
  capabilities = 14,
  no_new_privileges = 15,
  chdir = 16,
  exec = 17,
  admission = 18,  // detail is the number of starts of this user that are under way
};

// For messages to people: "chdir: No such file or directory".
constexpr const char* to_string(SpawnStep step) {
  switch (step) {
    case SpawnStep::none:
      return "none";
    case SpawnStep::fork:
      return "fork";
    case SpawnStep::cgroup:
      return "cgroup";
    case SpawnStep::cgroup_tasks:
      return "cgroup tasks";
    case SpawnStep::setsid:
      return "setsid";
    case SpawnStep::standard_input:
      return "stdin";
    case SpawnStep::standard_output:
      return "stdout";
    case SpawnStep::standard_error:
      return "stderr";
    case SpawnStep::close_descriptors:
      return "close descriptors";
    case SpawnStep::terminal:
      return "terminal";
    case SpawnStep::rlimit:
      return "rlimit";
    case SpawnStep::groups:
      return "groups";
    case SpawnStep::gid:
      return "gid";
    case SpawnStep::uid:
      return "uid";
    case SpawnStep::capabilities:
      return "capabilities";
    case SpawnStep::no_new_privileges:
      return "no new privileges";
    case SpawnStep::chdir:
      return "chdir";
    case SpawnStep::exec:
      return "exec";
    case SpawnStep::admission:
      return "admission";
  }
  return "unknown";
}

// Followed, at the step exec and when it is known, by one or two strings with their NUL: the file that cannot be
// executed, and the interpreter that it names and that is missing. Either may be cut short at its front ("...").
struct SpawnFailed {
  Header header;
  RunId run_id;
  SpawnStep step;
  std::int32_t error;  // errno
  std::uint32_t detail;
  std::uint32_t reserved;
};

enum class SignalScope : std::uint32_t {
  process = 1,  // the run's own process
  group = 2,    // its process group; an adopted run must lead its group, else EINVAL
  cgroup =
      3,  // every process in the cgroup directory whose descriptor comes with SCM_RIGHTS, and below it with SIGKILL
          // where the kernel has cgroup.kill. The run may have exited or be unknown: the descriptor is what counts.
};

// Error ESRCH: no such living run. signal 0 only asks.
struct Signal {
  Header header;
  RunId run_id;
  SignalScope scope;
  std::int32_t signal;
  std::uint32_t reserved[2];
};

// Followed by tag_bytes of tag. Takes a process that the keeper did not start; its exit is reported with kExitUnknown.
// Errors: ESRCH (no such process, or another start time), EEXIST (run id, or the pid belongs to a living run).
struct Adopt {
  Header header;
  RunId run_id;
  std::int32_t pid;
  std::uint16_t tag_bytes;
  std::uint16_t reserved;
  std::uint64_t start_ticks;  // 0 accepts the process that has the pid now
};

// Errors: ESRCH (unknown), EBUSY (still living).
struct Forget {
  Header header;
  RunId run_id;
};

// Replaces the keeper's program in place: children, journal, socket and connection stay. One descriptor with SCM_RIGHTS
// is the program to go on with; without one it is the keeper's own file, by the path it was started from.
struct Reexec {
  Header header;
};

// Gives a run more descriptors to keep, with SCM_RIGHTS. Errors: ESRCH (unknown run), E2BIG (more than kMaxKept).
struct Keep {
  Header header;
  RunId run_id;
};

// Error ESRCH: unknown run.
struct AskKept {
  Header header;
  RunId run_id;
};

// The answer carries as many descriptors as it says.
struct Kept {
  Header header;
  RunId run_id;
  std::uint32_t count;
  std::uint32_t reserved;
};

// From now on another process is the run's main one: its end is the end of the run. The daemon has made sure that it
// belongs to the run. Errors: ESRCH (no living run, or no such process), EEXIST (it belongs to another run).
struct MainPid {
  Header header;
  RunId run_id;
  std::int32_t pid;
  std::uint32_t reserved;
  std::uint64_t start_ticks;
};

struct Done {
  Header header;
  std::uint32_t count;
  std::uint32_t reserved;
};

enum class RunState : std::uint32_t {
  free = 0,
  starting = 1,  // never sent: seen only inside the journal
  running = 2,
  exited = 3,
};

enum RunFlag : std::uint32_t {
  kRunAdopted = 1U << 0,   // not our child (any more): its wait status cannot be known
  kExitUnknown = 1U << 1,  // wait_status and resource use are unknown, exited_us is when it was noticed
};

// How a run ended. All zero while it lives.
struct Exit {
  std::int32_t wait_status;  // as waitpid gives it: use WIFEXITED and its kin
  std::uint32_t reserved;
  std::int64_t exited_us;    // CLOCK_REALTIME
  std::uint64_t max_rss_kb;  // of it and the descendants it waited for
  std::uint64_t user_us;
  std::uint64_t system_us;
};

// One slot of the table. Followed by tag_bytes of tag.
struct Run {
  Header header;
  RunId run_id;
  RunState state;       // running or exited
  std::uint32_t flags;  // RunFlag
  std::int32_t pid;
  std::uint16_t tag_bytes;
  std::uint16_t reserved;
  std::uint64_t sequence;  // grows with every spawn and adoption
  std::uint64_t start_ticks;
  std::int64_t started_us;
  Exit exit;
};

struct ListEnd {
  Header header;
  std::uint32_t count;
  std::uint32_t reserved;
};

struct Exited {
  Header header;
  RunId run_id;
  std::int32_t pid;
  std::uint32_t flags;  // RunFlag
  Exit exit;
};

struct Error {
  Header header;
  MessageType request;  // what was asked
  std::uint16_t reserved;
  std::int32_t error;  // errno
  char message[120];   // NUL-terminated, names the field or the step
};

static_assert(sizeof(Header) == 16 && sizeof(Spawn) == 112 && sizeof(Adopt) == 48 && sizeof(Started) == 56);
static_assert(sizeof(Exit) == 40 && sizeof(Run) == 112 && sizeof(Exited) == 80 && sizeof(Error) == 144);
static_assert(sizeof(HelloReply) == 128 && sizeof(Signal) == 48 && sizeof(SpawnFailed) == 48 && sizeof(Rlimit) == 24);

}  // namespace appmesh::keeper

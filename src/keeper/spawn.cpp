#include "keeper/spawn.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <sched.h>

#include "keeper/process.h"
#include "keeper/raw_syscall.h"

namespace appmesh::keeper {

namespace {

constexpr std::size_t kPidDigits = 10;

}  // namespace

// Shared with the child, which runs beside us in the same memory until it execs.
struct Spawner::Child {
  const SpawnPlan& plan;
  Slot& slot;
  char* path;
  std::size_t path_bytes;
  int null;
  bool enter_cgroup;  // the kernel did not do it
  rlimit descriptor_limit;
  std::uint32_t alive;  // the kernel zeroes it and wakes us when the child execs or exits (CLONE_CHILD_CLEARTID)
};

int Spawner::prepare(const rlimit& child_descriptor_limit) {
  child_descriptor_limit_ = child_descriptor_limit;
  null_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return null_ ? 0 : errno;
}

namespace {

// Splits count NUL-terminated strings that fill exactly [text, text + bytes). false when they do not.
bool split(char* text, std::size_t bytes, std::size_t count, char** strings) {
  char* const end = text + bytes;
  for (std::size_t i = 0; i < count; ++i) {
    char* const nul = static_cast<char*>(std::memchr(text, 0, static_cast<std::size_t>(end - text)));
    if (nul == nullptr) return false;
    strings[i] = text;
    text = nul + 1;
  }
  strings[count] = nullptr;
  return text == end;
}

}  // namespace

const char* Spawner::parse(const std::byte* message, std::size_t size, const int* descriptors,
                           std::size_t descriptor_count, int& error) {
  error = EBADMSG;
  if (size < sizeof(Spawn)) return "spawn: shorter than its fixed part";
  const Spawn& request = *reinterpret_cast<const Spawn*>(message);
  error = EINVAL;
  if (request.run_id == RunId{}) return "run_id: all zero";
  if ((request.flags & ~kKnownSpawnFlags) != 0) return "flags: unknown bit";
  for (const std::uint32_t word : request.reserved) {
    if (word != 0) return "reserved: not zero";
  }
  if (request.reserved_short != 0) return "reserved: not zero";
  if ((request.flags & kFlagOwnPid) != 0 && request.environment_count == 0) return "flags: no variable for the pid";
  const bool program_first = (request.flags & kFlagProgramFirst) != 0;
  if (request.argument_count < (program_first ? 2U : 1U)) return "argument_count: no program";
  if ((request.flags & kFlagControllingTty) != 0 && (request.flags & kFlagStdin) == 0)
    return "flags: terminal without stdin";
  // setresuid(2) takes -1 for "leave it as it is", which would be root.
  if ((request.flags & kFlagSwitchUser) != 0 && request.uid == UINT32_MAX) return "uid: -1 is nobody's";
  if ((request.flags & kFlagSwitchUser) != 0 && request.gid == UINT32_MAX) return "gid: -1 is nobody's";
  error = E2BIG;
  if (request.group_count > kMaxGroups) return "group_count: too many";
  if (request.rlimit_count > kMaxRlimits) return "rlimit_count: too many";
  if (request.tag_bytes > kMaxTagBytes) return "tag_bytes: too long";
  if (request.cgroup_tasks_count > kMaxCgroupTasks) return "cgroup_tasks_count: too many";
  if (request.kept_count > kMaxKept) return "kept_count: too many";
  if (request.argument_count > kMaxArguments) return "argument_count: too many";
  if (request.environment_count > kMaxEnvironment) return "environment_count: too many";
  error = EBADMSG;
  const std::uint64_t total = sizeof(Spawn) + sizeof(Rlimit) * std::uint64_t{request.rlimit_count} +
                              sizeof(std::uint32_t) * std::uint64_t{request.group_count} + request.tag_bytes +
                              std::uint64_t{request.cwd_bytes} + request.arguments_bytes + request.environment_bytes;
  if (total != size) return "spawn: the lengths of its parts do not add up to its size";

  std::byte* at = const_cast<std::byte*>(message) + sizeof(Spawn);
  const auto take = [&at](std::size_t bytes) {
    std::byte* const part = at;
    at += bytes;
    return part;
  };
  plan_.request = &request;
  plan_.rlimits = reinterpret_cast<const Rlimit*>(take(sizeof(Rlimit) * request.rlimit_count));
  plan_.groups = reinterpret_cast<const std::uint32_t*>(take(sizeof(std::uint32_t) * request.group_count));
  plan_.tag = reinterpret_cast<const char*>(take(request.tag_bytes));
  char* directory[2] = {nullptr, nullptr};
  if (!split(reinterpret_cast<char*>(take(request.cwd_bytes)), request.cwd_bytes, request.cwd_bytes > 0 ? 1 : 0,
             directory)) {
    return "cwd: not one NUL-terminated string";
  }
  plan_.directory = directory[0] != nullptr ? directory[0] : "/";
  if (!split(reinterpret_cast<char*>(take(request.arguments_bytes)), request.arguments_bytes, request.argument_count,
             arguments_)) {
    return "arguments: not as many NUL-terminated strings as argument_count";
  }
  if (!split(reinterpret_cast<char*>(take(request.environment_bytes)), request.environment_bytes,
             request.environment_count, environment_)) {
    return "environment: not as many NUL-terminated strings as environment_count";
  }
  plan_.program = arguments_[0];
  plan_.arguments = arguments_ + (program_first ? 1 : 0);
  plan_.environment = environment_;
  plan_.search_path = "/usr/local/bin:/usr/bin:/bin";
  for (char* const* entry = environment_; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "PATH=", 5) == 0) {
      plan_.search_path = *entry + 5;
      break;
    }
  }

  plan_.own_pid = nullptr;
  if ((request.flags & kFlagOwnPid) != 0) {
    char* const equals = std::strchr(environment_[request.environment_count - 1], '=');
    if (equals == nullptr || std::strlen(equals + 1) < kPidDigits) return "environment: no room for the pid";
    plan_.own_pid = equals + 1;
  }

  std::size_t used = 0;
  const auto given = [&](std::uint32_t flag) {
    if ((request.flags & flag) == 0) return -1;
    const int number = used < descriptor_count ? descriptors[used] : -1;
    ++used;
    return number;
  };
  plan_.standard_input = given(kFlagStdin);
  plan_.standard_output = given(kFlagStdout);
  plan_.standard_error = given(kFlagStderr);
  plan_.cgroup = given(kFlagCgroup);
  plan_.cgroup_tasks = descriptors + used;
  if (used + request.cgroup_tasks_count + request.kept_count != descriptor_count)
    return "descriptors: not as many as flags, cgroup_tasks_count and kept_count say";
  error = 0;
  return nullptr;
}

bool Spawner::start(Slot& slot) {
  Child child{.plan = plan_,
              .slot = slot,
              .path = path_,
              .path_bytes = sizeof path_,
              .null = null_.get(),
              .enter_cgroup = false,
              .descriptor_limit = child_descriptor_limit_,
              .alive = 1};
  slot.spawn_step = SpawnStep::fork;
  long pid = clone_child(child, plan_.cgroup);
  // Linux before 5.7 does not know about cgroups here (E2BIG), and some containers forbid clone3 (ENOSYS, EPERM).
  if (pid == -E2BIG || pid == -ENOSYS || pid == -EPERM || pid == -EINVAL) {
    child.enter_cgroup = plan_.cgroup >= 0;
    pid = clone_child(child, -1);
  }
  if (pid < 0) {
    const bool cgroup_refused = plan_.cgroup >= 0 && pid != -EAGAIN && pid != -ENOMEM;
    slot.spawn_step = cgroup_refused ? SpawnStep::cgroup : SpawnStep::fork;
    slot.spawn_error = static_cast<int>(-pid);
    return false;
  }

  timespec patience{.tv_sec = kSpawnTimeoutSeconds, .tv_nsec = 0};
  const auto wait_for_exec = [&] {
    while (__atomic_load_n(&child.alive, __ATOMIC_ACQUIRE) != 0) {
      const long result = raw_syscall(SYS_futex, reinterpret_cast<long>(&child.alive), FUTEX_WAIT, 1,
                                      reinterpret_cast<long>(&patience));
      if (result == -ETIMEDOUT) return false;
    }
    return true;
  };
  if (!wait_for_exec()) {
    // Killed, it never comes back to code of ours, so its memory may be used again even if it hangs on in the kernel.
    ::kill(static_cast<pid_t>(pid), SIGKILL);
    patience.tv_sec = 1;
    wait_for_exec();
    slot.spawn_error = ETIMEDOUT;
    return false;
  }
  slot.pid = static_cast<std::int32_t>(pid);
  if (slot.spawn_error == 0) return true;
  ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
  return false;
}

long Spawner::clone_child(Child& child, int into_cgroup) {
  constexpr std::uint64_t kFlags = CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  // The kernel stores the pid into the journal before the child can run: a keeper killed here leaves no unknown child.
  clone_args args{};
  args.flags = kFlags | (into_cgroup >= 0 ? CLONE_INTO_CGROUP : 0);
  args.child_tid = reinterpret_cast<std::uint64_t>(&child.alive);
  args.parent_tid = reinterpret_cast<std::uint64_t>(&child.slot.pid);
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uint64_t>(stack_);
  args.stack_size = sizeof stack_;
  args.cgroup = into_cgroup >= 0 ? static_cast<std::uint64_t>(into_cgroup) : 0;
  // Without a cgroup the short form will do for kernels before 5.7.
  const long pid = raw_clone3(&args, into_cgroup >= 0 ? CLONE_ARGS_SIZE_VER2 : CLONE_ARGS_SIZE_VER0, run_child, &child);
  if (into_cgroup >= 0 || (pid != -ENOSYS && pid != -EPERM)) return pid;
  const auto entry = [](void* argument) -> int { run_child(argument); };
  const int old_style = ::clone(entry, stack_ + sizeof stack_, static_cast<int>(kFlags) | SIGCHLD, &child,
                                &child.slot.pid, nullptr, &child.alive);
  return old_style >= 0 ? old_style : -errno;
}

// ---- The child. It shares our memory and errno (ours is not touched meanwhile: see start), so it makes only system
// calls, and no allocation. Sanitizers would take its stack for an overflow.

[[clang::no_sanitize("address", "thread")]] void Spawner::run_child(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  prepare_child(child);
  if (child.slot.spawn_error == 0) execute(child);
  for (;;) ::syscall(SYS_exit_group, 127);
}

namespace {

[[clang::no_sanitize("address", "thread")]] bool fails(Slot& slot, SpawnStep step, long result,
                                                       std::uint32_t detail = 0) {
  if (result >= 0) return false;
  slot.spawn_step = step;
  slot.spawn_detail = detail;
  slot.spawn_error = errno;
  return true;
}

[[clang::no_sanitize("address", "thread")]] void write_own_pid(char* text) {
  char digits[kPidDigits];
  std::size_t count = 0;
  for (long pid = ::syscall(SYS_getpid); pid > 0 && count < sizeof digits; pid /= 10)
    digits[count++] = static_cast<char>('0' + pid % 10);
  while (count > 0) *text++ = digits[--count];
  *text = 0;
}

[[clang::no_sanitize("address", "thread")]] void note_start_ticks(Slot& slot) {
  const long file = ::syscall(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[512];
  const long length = ::syscall(SYS_read, file, text, sizeof text);
  if (length > 0) slot.start_ticks = parse_start_ticks(text, static_cast<std::size_t>(length));
}

}  // namespace

[[clang::no_sanitize("address", "thread")]] void Spawner::prepare_child(Child& child) {
  const SpawnPlan& plan = child.plan;
  const Spawn& request = *plan.request;
  Slot& slot = child.slot;
  // First of all: pid and start time are what a next keeper would know this process by.
  note_start_ticks(slot);
  if (plan.own_pid != nullptr) write_own_pid(plan.own_pid);

  if (child.enter_cgroup) {
    const long procs = ::syscall(SYS_openat, plan.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fails(slot, SpawnStep::cgroup, procs)) return;
    if (fails(slot, SpawnStep::cgroup, ::syscall(SYS_write, procs, "0", 1))) return;
  }
  for (std::uint32_t i = 0; i < request.cgroup_tasks_count; ++i) {
    if (fails(slot, SpawnStep::cgroup_tasks, ::syscall(SYS_write, plan.cgroup_tasks[i], "0", 1), i)) return;
  }
  if (fails(slot, SpawnStep::setsid, ::syscall(SYS_setsid))) return;

  const int input = plan.standard_input >= 0 ? plan.standard_input : child.null;
  const int output = plan.standard_output >= 0 ? plan.standard_output : child.null;
  const int errors = plan.standard_error >= 0 ? plan.standard_error : output;
  if (fails(slot, SpawnStep::standard_input, ::syscall(SYS_dup3, input, STDIN_FILENO, 0))) return;
  if (fails(slot, SpawnStep::standard_output, ::syscall(SYS_dup3, output, STDOUT_FILENO, 0))) return;
  if (fails(slot, SpawnStep::standard_error, ::syscall(SYS_dup3, errors, STDERR_FILENO, 0))) return;
  if ((request.flags & kFlagControllingTty) != 0 &&
      fails(slot, SpawnStep::terminal, ::syscall(SYS_ioctl, STDIN_FILENO, TIOCSCTTY, 0))) {
    return;
  }
  ::syscall(SYS_umask, 022);

  // Closed, and not only marked, before anything that may hang: the journal's lock must not depend on it.
  slot.spawn_step = SpawnStep::close_descriptors;
  if (::syscall(SYS_close_range, 3U, ~0U, 0U) != 0) {
    if (errno != ENOSYS) {
      fails(slot, SpawnStep::close_descriptors, -1);
      return;
    }
    for (unsigned i = 3; i < child.descriptor_limit.rlim_max && i < 65536; ++i) ::syscall(SYS_close, i);
  }

  if (child.descriptor_limit.rlim_cur != child.descriptor_limit.rlim_max) {  // ours was raised
    ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &child.descriptor_limit, nullptr);
  }
  for (std::uint32_t i = 0; i < request.rlimit_count; ++i) {
    const rlimit limit{.rlim_cur = plan.rlimits[i].soft, .rlim_max = plan.rlimits[i].hard};
    const long result = ::syscall(SYS_prlimit64, 0, plan.rlimits[i].resource, &limit, nullptr);
    if (fails(slot, SpawnStep::rlimit, result, plan.rlimits[i].resource)) return;
  }
  if ((request.flags & kFlagSwitchUser) != 0) switch_user(child);
  if (slot.spawn_error != 0) return;
  if ((request.flags & kFlagNoNewPrivileges) != 0 &&
      fails(slot, SpawnStep::no_new_privileges, ::syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))) {
    return;
  }
  slot.spawn_step = SpawnStep::chdir;
  if (fails(slot, SpawnStep::chdir, ::syscall(SYS_chdir, plan.directory))) return;
  slot.spawn_step = SpawnStep::exec;
  // The keeper blocks every signal and handles none, so the mask is all there is to put right.
  const std::uint64_t no_signals = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, sizeof no_signals);
}

[[clang::no_sanitize("address", "thread")]] void Spawner::switch_user(Child& child) {
  const Spawn& request = *child.plan.request;
  Slot& slot = child.slot;
  if (request.uid != 0 && (request.flags & kFlagKeepBoundingSet) == 0) {
    for (unsigned capability = 0; capability < 64; ++capability) {
      if (::syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;  // past the last, or not allowed to
    }
  }
  if (fails(slot, SpawnStep::groups, ::syscall(SYS_setgroups, request.group_count, child.plan.groups))) return;
  if (fails(slot, SpawnStep::gid, ::syscall(SYS_setresgid, request.gid, request.gid, request.gid))) return;
  if (fails(slot, SpawnStep::uid, ::syscall(SYS_setresuid, request.uid, request.uid, request.uid))) return;
  if (request.uid == 0) return;
  // Until exec we still share the keeper's memory: the new user must not be able to look into it (see suid_dumpable).
  ::syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct nothing[_LINUX_CAPABILITY_U32S_3] = {};
  fails(slot, SpawnStep::capabilities, ::syscall(SYS_capset, &header, nothing));
}

// execvpe(3) without its heap. Comes back only when it failed, with the error noted.
[[clang::no_sanitize("address", "thread")]] void Spawner::execute(Child& child) {
  const SpawnPlan& plan = child.plan;
  const std::size_t name_length = std::strlen(plan.program);
  if (name_length == 0 || std::strchr(plan.program, '/') != nullptr) {
    fails(child.slot, SpawnStep::exec, ::syscall(SYS_execve, plan.program, plan.arguments, plan.environment));
    return;
  }
  int error = ENOENT;
  for (const char* part = plan.search_path;; ++part) {
    std::size_t length = 0;
    while (part[length] != 0 && part[length] != ':') ++length;
    if (length + name_length + 2 <= child.path_bytes) {
      std::memcpy(child.path, part, length);
      std::size_t at = length;
      if (length > 0) child.path[at++] = '/';  // an empty part means the current directory
      std::memcpy(child.path + at, plan.program, name_length + 1);
      ::syscall(SYS_execve, child.path, plan.arguments, plan.environment);
      if (errno == EACCES) {
        error = EACCES;  // worth telling, but a later directory may have a better one
      } else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT) {
        error = errno;
        break;
      }
    }
    part += length;
    if (*part == 0) break;
  }
  errno = error;
  fails(child.slot, SpawnStep::exec, -1);
}

}  // namespace appmesh::keeper

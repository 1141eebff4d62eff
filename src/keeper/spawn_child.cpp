// The child of a start, from its birth to exec. It runs beside the keeper and in its memory, and the keeper does not
// wait: so it makes only raw system calls (errno is the keeper's), allocates nothing, and reads and writes nothing but
// its block and its slot of the journal. Sanitizers would take its stack for an overflow.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <initializer_list>

#include <linux/capability.h>
#include <linux/close_range.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include "keeper/process.h"
#include "keeper/raw_syscall.h"
#include "keeper/spawn.h"

#define APPMESH_IN_CHILD [[clang::no_sanitize("address", "thread")]]

namespace appmesh::keeper {
namespace {

constexpr std::size_t kPidDigits = 10;
constexpr int kNoticeDescriptor = 3;
constexpr std::size_t kHeadBytes = 1024;  // of a file that the kernel does not execute
constexpr const char* kShell = "/bin/sh";

APPMESH_IN_CHILD bool fails(Slot& slot, SpawnStep step, long result, std::uint32_t detail = 0) {
  if (result >= 0) return false;
  slot.spawn_step = step;
  slot.spawn_detail = detail;
  slot.spawn_error = static_cast<std::int32_t>(-result);
  return true;
}

APPMESH_IN_CHILD void write_own_pid(char* text) {
  char digits[kPidDigits];
  std::size_t count = 0;
  for (long pid = raw_syscall(SYS_getpid); pid > 0 && count < sizeof digits; pid /= 10)
    digits[count++] = static_cast<char>('0' + pid % 10);
  while (count > 0) *text++ = digits[--count];
  *text = 0;
}

APPMESH_IN_CHILD void note_start_ticks(Slot& slot) {
  const long file = raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  char text[512];
  const long length = raw_syscall(SYS_read, file, text, sizeof text);
  if (length > 0) slot.start_ticks = parse_start_ticks(text, static_cast<std::size_t>(length));
}

APPMESH_IN_CHILD void restore_oom_score() {
  const long file = raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (file >= 0) raw_syscall(SYS_write, file, "0", 1);
}

APPMESH_IN_CHILD bool enter_cgroups(const SpawnBlock& block, Slot& slot) {
  const SpawnPlan& plan = block.plan;
  if (block.enter_cgroup) {
    const long procs = raw_syscall(SYS_openat, plan.cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fails(slot, SpawnStep::cgroup, procs)) return false;
    if (fails(slot, SpawnStep::cgroup, raw_syscall(SYS_write, procs, "0", 1))) return false;
  }
  for (std::uint32_t i = 0; i < plan.request->cgroup_tasks_count; ++i) {
    if (fails(slot, SpawnStep::cgroup_tasks, raw_syscall(SYS_write, plan.cgroup_tasks[i], "0", 1), i)) return false;
  }
  return true;
}

APPMESH_IN_CHILD bool set_standard_streams(const SpawnBlock& block, Slot& slot) {
  const SpawnPlan& plan = block.plan;
  const int input = plan.standard_input >= 0 ? plan.standard_input : block.defaults->null;
  const int output = plan.standard_output >= 0 ? plan.standard_output : block.defaults->null;
  const int errors = plan.standard_error >= 0 ? plan.standard_error : output;
  if (fails(slot, SpawnStep::standard_input, raw_syscall(SYS_dup3, input, STDIN_FILENO, 0))) return false;
  if (fails(slot, SpawnStep::standard_output, raw_syscall(SYS_dup3, output, STDOUT_FILENO, 0))) return false;
  if (fails(slot, SpawnStep::standard_error, raw_syscall(SYS_dup3, errors, STDERR_FILENO, 0))) return false;
  return (plan.request->flags & kFlagControllingTty) == 0 ||
         !fails(slot, SpawnStep::terminal, raw_syscall(SYS_ioctl, STDIN_FILENO, TIOCSCTTY, 0));
}

// Closed, and not only marked, before anything that may hang: the journal's lock must not depend on it. Only the notice
// stays, which exec closes.
APPMESH_IN_CHILD bool close_descriptors(const SpawnBlock& block, Slot& slot) {
  slot.spawn_step = SpawnStep::close_descriptors;
  if (block.notice_writer != kNoticeDescriptor &&
      fails(slot, SpawnStep::close_descriptors,
            raw_syscall(SYS_dup3, block.notice_writer, kNoticeDescriptor, O_CLOEXEC))) {
    return false;
  }
  const long closed = raw_syscall(SYS_close_range, kNoticeDescriptor + 1, ~0U, 0);
  if (closed == 0) return true;
  if (closed != -ENOSYS) return !fails(slot, SpawnStep::close_descriptors, closed);
  rlimit own{};
  raw_syscall(SYS_prlimit64, 0, static_cast<int>(RLIMIT_NOFILE), nullptr, &own);
  for (unsigned i = kNoticeDescriptor + 1; i < own.rlim_max && i < 65536; ++i) raw_syscall(SYS_close, i);
  return true;
}

APPMESH_IN_CHILD bool set_limits(const SpawnBlock& block, Slot& slot) {
  const ChildLimits& ours = block.defaults->limits;
  for (std::uint32_t i = 0; i < ours.count; ++i)
    raw_syscall(SYS_prlimit64, 0, ours.items[i].resource, &ours.items[i].limit, nullptr);
  for (std::uint32_t i = 0; i < block.plan.request->rlimit_count; ++i) {
    const Rlimit& wanted = block.plan.rlimits[i];
    const rlimit limit{.rlim_cur = wanted.soft, .rlim_max = wanted.hard};
    const long result = raw_syscall(SYS_prlimit64, 0, wanted.resource, &limit, nullptr);
    if (fails(slot, SpawnStep::rlimit, result, wanted.resource)) return false;
  }
  return true;
}

APPMESH_IN_CHILD bool switch_user(const SpawnBlock& block, Slot& slot) {
  const Spawn& request = *block.plan.request;
  if (request.uid != 0 && (request.flags & kFlagKeepBoundingSet) == 0) {
    for (unsigned capability = 0; capability < 64; ++capability) {
      if (raw_syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) break;  // past the last, or not allowed to
    }
  }
  if (fails(slot, SpawnStep::groups, raw_syscall(SYS_setgroups, request.group_count, block.plan.groups))) return false;
  if (fails(slot, SpawnStep::gid, raw_syscall(SYS_setresgid, request.gid, request.gid, request.gid))) return false;
  if (fails(slot, SpawnStep::uid, raw_syscall(SYS_setresuid, request.uid, request.uid, request.uid))) return false;
  if (request.uid == 0) return true;
  // Until exec we still share the keeper's memory, which a change of the user may have made readable for the new one
  // (see suid_dumpable).
  raw_syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
  raw_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct nothing[_LINUX_CAPABILITY_U32S_3] = {};
  return !fails(slot, SpawnStep::capabilities, raw_syscall(SYS_capset, &header, nothing));
}

APPMESH_IN_CHILD void write_text(const char* text) {
  raw_syscall(SYS_write, STDERR_FILENO, text, std::strlen(text));
}

APPMESH_IN_CHILD void tell_missing_home(const char* directory, long error) {
  const char* const reason = ::strerrordesc_np(static_cast<int>(-error));
  for (const char* part : {"Could not chdir to home directory ", directory, ": ", reason != nullptr ? reason : "error",
                           "; starting in /\r\n"})
    write_text(part);
}

APPMESH_IN_CHILD bool prepare(SpawnBlock& block, Slot& slot) {
  const SpawnPlan& plan = block.plan;
  const Spawn& request = *plan.request;
  // First of all: pid and start time are what a next keeper would know this process by.
  note_start_ticks(slot);
  if (plan.own_pid != nullptr) write_own_pid(plan.own_pid);
  if (block.defaults->restore_oom_score) restore_oom_score();
  if (!enter_cgroups(block, slot)) return false;
  if (fails(slot, SpawnStep::setsid, raw_syscall(SYS_setsid))) return false;
  if (!set_standard_streams(block, slot)) return false;
  raw_syscall(SYS_umask, 022);
  if (!close_descriptors(block, slot) || !set_limits(block, slot)) return false;
  if ((request.flags & kFlagSwitchUser) != 0 && !switch_user(block, slot)) return false;
  if ((request.flags & kFlagNoNewPrivileges) != 0 &&
      fails(slot, SpawnStep::no_new_privileges, raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))) {
    return false;
  }
  slot.spawn_step = SpawnStep::chdir;
  const long changed = raw_syscall(SYS_chdir, plan.directory);
  if (changed < 0 && (request.flags & kFlagHomeDirectory) != 0) {
    tell_missing_home(plan.directory, changed);
    if (fails(slot, SpawnStep::chdir, raw_syscall(SYS_chdir, "/"))) return false;
  } else if (fails(slot, SpawnStep::chdir, changed)) {
    return false;
  }
  slot.spawn_step = SpawnStep::exec;
  // The keeper blocks every signal and handles none, so the mask is all there is to put right.
  const std::uint64_t no_signals = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, nullptr, sizeof no_signals);
  return true;
}

APPMESH_IN_CHILD bool copy_path(char (&to)[kMaxPathBytes], const char* from, std::size_t length) {
  if (length == 0 || length >= sizeof to) return false;
  std::memcpy(to, from, length);
  to[length] = 0;
  return true;
}

// The next of the directories with the name appended; at nullptr the first one. False: there is no more.
APPMESH_IN_CHILD bool next_candidate(const char*& part, const SpawnPlan& plan, char (&path)[kMaxPathBytes]) {
  const std::size_t name_length = std::strlen(plan.program);
  for (;;) {
    if (part == nullptr) {
      part = plan.search_path;
    } else {
      while (*part != 0 && *part != ':') ++part;
      if (*part == 0) return false;
      ++part;
    }
    std::size_t length = 0;
    while (part[length] != 0 && part[length] != ':') ++length;
    if (length + name_length + 2 > sizeof path) continue;
    std::memcpy(path, part, length);
    if (length > 0) path[length++] = '/';  // an empty part means the current directory
    std::memcpy(path + length, plan.program, name_length + 1);
    return true;
  }
}

// The first bytes of the file, whatever it is. The length, or -errno.
APPMESH_IN_CHILD long read_head(const char* path, char (&head)[kHeadBytes], long& file) {
  file = raw_syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return file < 0 ? file : raw_syscall(SYS_read, file, head, sizeof head);
}

APPMESH_IN_CHILD bool is_text(const char* head, long length) {
  for (long i = 0; i < length && head[i] != '\n'; ++i) {
    if (head[i] == 0) return false;
  }
  return true;
}

// "#!  /path argument": the path. False: there is none.
APPMESH_IN_CHILD bool script_interpreter(const char* head, long length, char (&interpreter)[kMaxPathBytes]) {
  if (length < 3 || head[0] != '#' || head[1] != '!') return false;
  long from = 2;
  while (from < length && (head[from] == ' ' || head[from] == '\t')) ++from;
  long to = from;
  while (to < length && head[to] != ' ' && head[to] != '\t' && head[to] != '\n' && head[to] != 0) ++to;
  return copy_path(interpreter, head + from, static_cast<std::size_t>(to - from));
}

// The loader that a program of 64 bits names.
APPMESH_IN_CHILD bool elf_interpreter(long file, const char* head, long length, char (&interpreter)[kMaxPathBytes]) {
  Elf64_Ehdr elf{};
  if (length < static_cast<long>(sizeof elf) || std::memcmp(head, ELFMAG, SELFMAG) != 0) return false;
  std::memcpy(&elf, head, sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_phentsize != sizeof(Elf64_Phdr)) return false;
  for (unsigned i = 0; i < elf.e_phnum && i < 64; ++i) {
    Elf64_Phdr part{};
    const Elf64_Off at = elf.e_phoff + i * sizeof part;
    if (raw_syscall(SYS_pread64, file, &part, sizeof part, at) != static_cast<long>(sizeof part)) return false;
    if (part.p_type != PT_INTERP) continue;
    if (part.p_filesz == 0 || part.p_filesz > sizeof interpreter) return false;
    const long got = raw_syscall(SYS_pread64, file, interpreter, part.p_filesz, part.p_offset);
    interpreter[got > 0 ? got - 1 : 0] = 0;
    return got > 0;
  }
  return false;
}

// A file that is there and yet "not there" for exec: what it wants to be run by is missing.
APPMESH_IN_CHILD bool names_missing_interpreter(SpawnBlock& block) {
  char head[kHeadBytes] = {};
  long file = -1;
  const long length = read_head(block.path, head, file);
  if (length < 0) return false;
  if (!script_interpreter(head, length, block.interpreter) && !elf_interpreter(file, head, length, block.interpreter)) {
    block.interpreter[0] = 0;
  }
  return true;
}

// What every shell does with a text that names no interpreter. Comes back when it is no text.
APPMESH_IN_CHILD void execute_by_shell(SpawnBlock& block) {
  char head[kHeadBytes] = {};
  long file = -1;
  const long length = read_head(block.path, head, file);
  if (length < 0 || !is_text(head, length)) return;
  char** const arguments = block.plan.arguments - 1;
  arguments[0] = const_cast<char*>(kShell);
  arguments[1] = block.path;
  raw_syscall(SYS_execve, kShell, arguments, block.plan.environment);
}

// Tries block.path. Comes back only when it failed, with -errno.
APPMESH_IN_CHILD long try_path(SpawnBlock& block) {
  const long result = raw_syscall(SYS_execve, block.path, block.plan.arguments, block.plan.environment);
  if (result == -ENOEXEC) execute_by_shell(block);
  return result;
}

// execvpe(3) without its heap. Comes back only when it failed, with the error noted.
APPMESH_IN_CHILD void execute(SpawnBlock& block, Slot& slot) {
  const SpawnPlan& plan = block.plan;
  const std::size_t name_length = std::strlen(plan.program);
  if (name_length == 0 || std::strchr(plan.program, '/') != nullptr) {
    if (name_length > 0 && !copy_path(block.path, plan.program, name_length)) {
      fails(slot, SpawnStep::exec, -ENAMETOOLONG);
      return;
    }
    const long result = try_path(block);
    const bool may_be_executed = result == -EACCES && raw_syscall(SYS_faccessat, AT_FDCWD, block.path, X_OK) == 0;
    if ((result == -ENOENT && name_length > 0) || may_be_executed) names_missing_interpreter(block);
    fails(slot, SpawnStep::exec, result);
    return;
  }
  long error = -ENOENT;
  for (const char* part = nullptr; next_candidate(part, plan, block.path);) {
    const long result = try_path(block);
    if (result == -EACCES) {
      error = result;  // worth telling, but a later directory may have a better one
    } else if (result != -ENOENT && result != -ENOTDIR && result != -ESTALE && result != -ENODEV &&
               result != -ETIMEDOUT) {
      fails(slot, SpawnStep::exec, result);
      return;
    }
  }
  // Again, for the message: one that is there, or that may not be executed.
  for (const char* part = nullptr; next_candidate(part, plan, block.path);) {
    if (error == -ENOENT ? names_missing_interpreter(block)
                         : raw_syscall(SYS_faccessat, AT_FDCWD, block.path, F_OK) == 0) {
      fails(slot, SpawnStep::exec, error);
      return;
    }
  }
  block.path[0] = 0;
  fails(slot, SpawnStep::exec, error);
}

}  // namespace

APPMESH_IN_CHILD void run_child(void* argument) {
  SpawnBlock& block = *static_cast<SpawnBlock*>(argument);
  Slot& slot = *block.slot;
  if (prepare(block, slot)) execute(block, slot);
  for (;;) raw_syscall(SYS_exit_group, 127);
}

}  // namespace appmesh::keeper

// From the bytes of a Spawn message to a SpawnPlan.
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "keeper/spawn.h"

namespace appmesh::keeper {
namespace {

constexpr std::size_t kPidDigits = 10;

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

const char* SpawnBlock::parse(const std::byte* bytes, std::size_t size, const int* given, std::size_t given_count,
                              int& error) {
  error = EBADMSG;
  if (size < sizeof(Spawn)) return "spawn: shorter than its fixed part";
  std::memcpy(message, bytes, size);
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

  std::byte* at = message + sizeof(Spawn);
  const auto take = [&at](std::size_t bytes) {
    std::byte* const part = at;
    at += bytes;
    return part;
  };
  plan.request = &request;
  plan.rlimits = reinterpret_cast<const Rlimit*>(take(sizeof(Rlimit) * request.rlimit_count));
  plan.groups = reinterpret_cast<const std::uint32_t*>(take(sizeof(std::uint32_t) * request.group_count));
  plan.tag = reinterpret_cast<const char*>(take(request.tag_bytes));
  char* directory[2] = {nullptr, nullptr};
  if (!split(reinterpret_cast<char*>(take(request.cwd_bytes)), request.cwd_bytes, request.cwd_bytes > 0 ? 1 : 0,
             directory)) {
    return "cwd: not one NUL-terminated string";
  }
  plan.directory = directory[0] != nullptr ? directory[0] : "/";
  if (!split(reinterpret_cast<char*>(take(request.arguments_bytes)), request.arguments_bytes, request.argument_count,
             arguments + 1)) {
    return "arguments: not as many NUL-terminated strings as argument_count";
  }
  if (!split(reinterpret_cast<char*>(take(request.environment_bytes)), request.environment_bytes,
             request.environment_count, environment)) {
    return "environment: not as many NUL-terminated strings as environmentcount";
  }
  plan.program = arguments[1];
  plan.arguments = arguments + (program_first ? 2 : 1);
  plan.environment = environment;
  plan.search_path = "/usr/local/bin:/usr/bin:/bin";
  for (char* const* entry = environment; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "PATH=", 5) == 0) {
      plan.search_path = *entry + 5;
      break;
    }
  }

  plan.own_pid = nullptr;
  if ((request.flags & kFlagOwnPid) != 0) {
    char* const equals = std::strchr(environment[request.environment_count - 1], '=');
    if (equals == nullptr || std::strlen(equals + 1) < kPidDigits) return "environment: no room for the pid";
    plan.own_pid = equals + 1;
  }

  std::size_t used = 0;
  std::memcpy(descriptors, given, given_count * sizeof(int));
  const auto take_given = [&](std::uint32_t flag) {
    if ((request.flags & flag) == 0) return -1;
    const int number = used < given_count ? descriptors[used] : -1;
    ++used;
    return number;
  };
  plan.standard_input = take_given(kFlagStdin);
  plan.standard_output = take_given(kFlagStdout);
  plan.standard_error = take_given(kFlagStderr);
  plan.cgroup = take_given(kFlagCgroup);
  plan.cgroup_tasks = descriptors + used;
  if (used + request.cgroup_tasks_count + request.kept_count != given_count)
    return "descriptors: not as many as flags, cgroup_tasks_count and kept_count say";
  uid = (request.flags & kFlagSwitchUser) != 0 ? request.uid : ::geteuid();
  error = 0;
  return nullptr;
}

}  // namespace appmesh::keeper

// Looking at and holding on to processes: start times and pidfds. Keeper thread only.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/types.h>

#include "keeper/descriptor.h"

namespace appmesh::keeper {

// Field 22 of the text of /proc/pid/stat, 0 when the text is not one. Safe in a child that shares our memory.
std::uint64_t parse_start_ticks(const char* stat, std::size_t length);

// In clock ticks since boot; 0 when there is no such process.
std::uint64_t read_start_ticks(pid_t pid);

// Holds the process that has this pid and start time (0: any), whose start time is put into start_ticks. error is ESRCH
// when there is none, and another errno when it cannot be told.
Descriptor open_process(pid_t pid, std::uint64_t& start_ticks, int& error);

// 0 or errno. The group is that which the process of the pidfd leads (pid names it for kernels before 6.9).
int signal_process(int pidfd, int signal);
int signal_group(int pidfd, pid_t pid, int signal);

}  // namespace appmesh::keeper
